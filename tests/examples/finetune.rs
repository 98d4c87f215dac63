//! Sizes of simulated fine-tunes of a BF16 checkpoint, with and without the base.
//!
//!     cargo run --release -p wcodec-tests --example finetune -- MODEL.safetensors

use std::path::Path;
use std::sync::Arc;

use half::bf16;
use wcodec::safetensors::{Dtype, TensorEntry, parse};
use wcodec::{Base, Checkpoint, EncodeOptions, Profile, encode_safetensors_bytes};
use wcodec_tests::Random;

/// What a fine-tune does to each BF16 tensor.
struct FineTune {
    name: &'static str,
    /// Part of the rows that change.
    rows: f64,
    /// Standard deviation of the factors, or none for other weights altogether.
    noise: Option<f32>,
}

const FINE_TUNES: [FineTune; 4] = [
    FineTune { name: "nothing", rows: 0.0, noise: Some(0.0) },
    FineTune { name: "1 % noise on 10 % of the rows", rows: 0.1, noise: Some(0.01) },
    FineTune { name: "0.1 % noise on all rows", rows: 1.0, noise: Some(0.001) },
    FineTune { name: "unrelated", rows: 1.0, noise: None },
];

fn tuned(file: &[u8], tensors: &[TensorEntry], tune: &FineTune) -> Vec<u8> {
    let mut random = Random::new(7);
    let mut tuned = file.to_vec();
    for tensor in tensors.iter().filter(|tensor| tensor.dtype == Dtype::BF16) {
        let columns = tensor.shape.last().copied().unwrap_or(1).max(1) as usize;
        let range = tensor.start as usize..tensor.end as usize;
        for row in tuned[range].chunks_mut(2 * columns) {
            if random.below(1000) as f64 >= 1000.0 * tune.rows {
                continue;
            }
            for element in row.as_chunks_mut().0 {
                let value = bf16::from_le_bytes(*element).to_f32();
                let changed = match tune.noise {
                    Some(noise) => value * (1.0 + noise * random.gaussian()),
                    None => 0.05 * random.gaussian(),
                };
                *element = bf16::from_f32(changed).to_le_bytes();
            }
        }
    }
    tuned
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name a .safetensors file")?;
    let file = std::fs::read(&path)?;
    let header = parse(&file, Path::new(&path))?;
    let base = Arc::new(Base::from_bytes(file.clone())?);
    println!(
        "{:32} {:>7} {:>12} {:>12} {:>8}",
        "fine-tune", "profile", "alone", "with base", "part"
    );
    for tune in &FINE_TUNES {
        let tuned = tuned(&file, &header.tensors, tune);
        for profile in [Profile::Fast, Profile::Max] {
            let options = EncodeOptions::of(profile);
            let (alone, _) = encode_safetensors_bytes(&tuned, &options)?;
            let options = EncodeOptions { base: Some(Arc::clone(&base)), ..options };
            let (with_base, _) = encode_safetensors_bytes(&tuned, &options)?;
            let (alone, size) = (alone.len(), with_base.len());
            let checkpoint = Checkpoint::from_bytes(with_base)?.with_base(Arc::clone(&base))?;
            assert!(checkpoint.restore_bytes()? == tuned, "{} comes back", tune.name);
            let part = 100.0 * size as f64 / alone as f64;
            let profile = format!("{profile:?}").to_lowercase();
            println!("{:32} {profile:>7} {alone:>12} {size:>12} {part:>6.2} %", tune.name);
        }
    }
    Ok(())
}
