//! Kernel times on one GPU: Gaussian weights of each dtype in several block sizes, and real files.
//!
//! `gpu_compare SETTING...`, where a setting is `DTYPE:MEBI_ELEMENTS:BLOCK_KIBI_ELEMENTS:STATES`
//! (`BF16:1024:32:2`) or `FILE:BLOCK_KIBI_ELEMENTS:STATES`. Every result is compared with the
//! original bytes before a line is printed. A line has the setting, size over original size
//! (payload only, as nvCOMP's figures), and the median and the best of the runs in GB/s of
//! decoded bytes.

use std::process::ExitCode;

use half::{bf16, f16};
use rayon::prelude::*;
use wcodec::gpu::Decoder;
use wcodec::safetensors::{Dtype, TensorData, build, parse};
use wcodec::{Checkpoint, EncodeOptions, encode_safetensors_bytes};

/// Timed runs of each setting.
const RUNS: usize = 15;
/// Bytes of weights that one generator makes.
const PIECE_BYTES: usize = 1 << 20;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpu_compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let decoder = Decoder::new(0)?;
    println!("{:?}", decoder.device());
    println!("{:<34} {:>8} {:>10} {:>10} {:>8}", "setting", "size", "median", "best", "launches");
    for setting in std::env::args().skip(1) {
        measure(&decoder, &setting)?;
    }
    Ok(())
}

fn measure(decoder: &Decoder, setting: &str) -> Result<(), Failure> {
    let mut words: Vec<&str> = setting.split(':').collect();
    let states = words.pop().ok_or("a setting is empty")?.parse()?;
    let block: usize = words.pop().ok_or("a setting has no block size")?.parse()?;
    let file = match words[..] {
        [dtype, mebi] => gaussian(dtype, mebi.parse::<usize>()? << 20)?,
        [path] => std::fs::read(path)?,
        _ => return Err(format!("{setting} is no setting").into()),
    };
    let options = EncodeOptions {
        block_elements: block << 10,
        states_per_lane: states,
        ..EncodeOptions::default()
    };
    let (encoded, _) = encode_safetensors_bytes(&file, &options)?;
    let checkpoint = Checkpoint::from_bytes(encoded)?;
    let start = parse(&file, setting.as_ref())?.data_start as usize;
    let times = decoder.time_kernels(&checkpoint, &file[start..], RUNS)?;
    let mut sorted = times.milliseconds.clone();
    sorted.sort_by(f32::total_cmp);
    let speed = |milliseconds: f32| times.decoded_bytes as f64 / f64::from(milliseconds) / 1e6;
    let name = setting.rsplit('/').next().unwrap_or(setting);
    println!(
        "{name:<34} {:>8.5} {:>10.1} {:>10.1} {:>8}",
        times.payload_bytes as f64 / times.decoded_bytes as f64,
        speed(sorted[RUNS / 2]),
        speed(sorted[0]),
        times.launches,
    );
    Ok(())
}

/// A checkpoint of one tensor: weights with a standard deviation of 0.02 (floats), 32 (INT8), 0.25
/// of the largest value (FP8) or 2.3 (INT4, two to a byte).
fn gaussian(dtype: &str, elements: usize) -> Result<Vec<u8>, Failure> {
    let bytes = match dtype {
        "F32" => 4 * elements,
        "BF16" | "F16" => 2 * elements,
        "INT4" => elements / 2,
        _ => elements,
    };
    let mut data = vec![0; bytes];
    data.par_chunks_mut(PIECE_BYTES).enumerate().for_each(|(number, piece)| {
        let mut normal = Normal::new(number as u64);
        fill(dtype, piece, || normal.next());
    });
    let (name, width) = match dtype {
        "INT4" => ("U8", 1),
        other => (other, bytes / elements),
    };
    let shape = [(bytes / width) as u64];
    let tensor =
        TensorData { name: "weights", dtype: Dtype::from(name), shape: &shape, bytes: &data };
    Ok(build(&[tensor], &[])?)
}

fn fill(dtype: &str, piece: &mut [u8], mut normal: impl FnMut() -> f32) {
    match dtype {
        "F32" => {
            piece.as_chunks_mut().0.iter_mut().for_each(|e| *e = (normal() * 0.02).to_le_bytes())
        }
        "BF16" => piece
            .as_chunks_mut()
            .0
            .iter_mut()
            .for_each(|e| *e = bf16::from_f32(normal() * 0.02).to_le_bytes()),
        "F16" => piece
            .as_chunks_mut()
            .0
            .iter_mut()
            .for_each(|e| *e = f16::from_f32(normal() * 0.02).to_le_bytes()),
        "I8" => piece
            .iter_mut()
            .for_each(|e| *e = (normal() * 32.0).round().clamp(-127.0, 127.0) as i8 as u8),
        "INT4" => piece.iter_mut().for_each(|e| {
            let mut nibble = || ((normal() * 2.3).round().clamp(-8.0, 7.0) + 8.0) as u8;
            *e = nibble() | nibble() << 4;
        }),
        _ => piece.iter_mut().for_each(|e| *e = e4m3(normal() * 64.0)),
    }
}

/// E4M3 by way of F16: sign, exponent bias 7, three bits of mantissa (truncated), zero below.
fn e4m3(value: f32) -> u8 {
    let bits = f16::from_f32(value).to_bits();
    let exponent = i32::from(bits >> 10 & 31) - 15 + 7;
    let sign = (bits >> 8 & 0x80) as u8;
    match exponent {
        ..=0 => sign,
        _ => sign | (exponent.min(15) as u8) << 3 | (bits >> 7 & 7) as u8,
    }
}

/// Normal deviates by Box and Muller's method from a xorshift generator (Marsaglia, 2003).
struct Normal {
    state: u64,
    spare: Option<f32>,
}

impl Normal {
    fn new(seed: u64) -> Self {
        let state = 0x9E37_79B9_7F4A_7C15 ^ (seed + 1).wrapping_mul(0xD134_2543_DE82_EF95);
        Self { state, spare: None }
    }

    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let bits = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some((radius * sine) as f32);
        (radius * cosine) as f32
    }
}
