//! Writes checkpoints of Gaussian weights for measuring how fast they load:
//!
//! ```text
//! make_checkpoint llama 22 OUT.safetensors      22 layers as a model of 7 billion parameters has them, BF16
//! make_checkpoint small 10000 OUT.safetensors   10,000 norms and biases
//! make_checkpoint matrices 2 OUT.safetensors    two matrices of 4096 x 11008, BF16
//! make_checkpoint equal 1024x16384 OUT.safetensors   1024 tensors of 16,384 weights, BF16
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use half::bf16;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Dimensions of the model.
const HIDDEN: u64 = 4096;
const INTERMEDIATE: u64 = 11008;
/// What trained weights have.
const DEVIATION: f32 = 0.02;
/// Bytes that one thread makes and writes at a time.
const PIECE_BYTES: u64 = 8 << 20;

/// A tensor in BF16.
struct Tensor {
    name: String,
    shape: Vec<u64>,
    /// What its elements are around.
    mean: f32,
}

impl Tensor {
    fn bytes(&self) -> u64 {
        2 * self.shape.iter().product::<u64>()
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [kind @ ("llama" | "small" | "matrices"), count, output] => match count.parse() {
            Ok(count) => write(&tensors(kind, count), output).map_err(|error| error.to_string()),
            Err(_) => Err(format!("{count} is no number")),
        },
        ["equal", sizes, output] => match equal(sizes) {
            Some(tensors) => write(&tensors, output).map_err(|error| error.to_string()),
            None => Err(format!("{sizes} is no COUNTxELEMENTS")),
        },
        _ => Err("say: make_checkpoint llama|small|matrices COUNT OUT.safetensors\n\
                  or: make_checkpoint equal COUNTxELEMENTS OUT.safetensors"
            .to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("make_checkpoint: {error}");
            ExitCode::FAILURE
        }
    }
}

/// So many tensors of so many elements, as in `1024x16384`.
fn equal(sizes: &str) -> Option<Vec<Tensor>> {
    let (count, elements) = sizes.split_once('x')?;
    let (count, elements): (u64, u64) = (count.parse().ok()?, elements.parse().ok()?);
    let tensor = |number| Tensor {
        name: format!("layers.{number:05}.weight"),
        shape: vec![elements],
        mean: 0.0,
    };
    Some((0..count).map(tensor).collect())
}

fn tensors(kind: &str, count: u64) -> Vec<Tensor> {
    let tensor = |name: String, shape: &[u64], mean| Tensor { name, shape: shape.to_vec(), mean };
    match kind {
        "small" => (0..count)
            .map(|number| {
                let (name, mean) =
                    if number % 2 == 0 { ("norm.weight", 1.0) } else { ("bias", 0.0) };
                let length = HIDDEN + 512 * (number % 17);
                tensor(format!("layers.{number:05}.{name}"), &[length], mean)
            })
            .collect(),
        "matrices" => (0..count)
            .map(|number| tensor(format!("layers.{number}.weight"), &[HIDDEN, INTERMEDIATE], 0.0))
            .collect(),
        _ => (0..count).flat_map(layer).collect(),
    }
}

/// The tensors of a layer, named as model hubs name them.
fn layer(number: u64) -> Vec<Tensor> {
    let attention = ["q_proj", "k_proj", "v_proj", "o_proj"];
    let attention = attention.map(|name| (format!("self_attn.{name}"), vec![HIDDEN, HIDDEN], 0.0));
    let norms = ["input_layernorm", "post_attention_layernorm"];
    let norms = norms.map(|name| (name.to_owned(), vec![HIDDEN], 1.0));
    let up = ["gate_proj", "up_proj"];
    let up = up.map(|name| (format!("mlp.{name}"), vec![INTERMEDIATE, HIDDEN], 0.0));
    let down = [("mlp.down_proj".to_owned(), vec![HIDDEN, INTERMEDIATE], 0.0)];
    let all = attention.into_iter().chain(up).chain(down).chain(norms);
    all.map(|(name, shape, mean)| {
        let name = format!("model.layers.{number}.{name}.weight");
        Tensor { name, shape, mean }
    })
    .collect()
}

fn write(tensors: &[Tensor], output: &str) -> io::Result<()> {
    let mut entries = Vec::with_capacity(tensors.len());
    let mut end = 0;
    for tensor in tensors {
        let start = end;
        end += tensor.bytes();
        let Tensor { name, shape, .. } = tensor;
        entries.push(format!(
            "\"{name}\":{{\"dtype\":\"BF16\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
        ));
    }
    let mut header = format!("{{{}}}", entries.join(","));
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let file = File::create(output)?;
    file.write_all_at(&(header.len() as u64).to_le_bytes(), 0)?;
    file.write_all_at(header.as_bytes(), 8)?;
    let first = 8 + header.len() as u64;
    let mut pieces = Vec::new();
    let mut at = first;
    for tensor in tensors {
        let bytes = tensor.bytes();
        for start in (0..bytes).step_by(PIECE_BYTES as usize) {
            pieces.push((at + start, (bytes - start).min(PIECE_BYTES), tensor.mean));
        }
        at += bytes;
    }
    pieces.into_par_iter().try_for_each(|(at, bytes, mean)| {
        let mut random = SmallRng::seed_from_u64(at);
        let elements = (0..bytes / 2).flat_map(|_| {
            let value: f32 = StandardNormal.sample(&mut random);
            bf16::from_f32(mean + DEVIATION * value).to_le_bytes()
        });
        file.write_all_at(&elements.collect::<Vec<u8>>(), at)
    })
}
