//! Decodes damaged payloads on a GPU with the chunks' checksums left out:
//! `corrupt_on_gpu COUNT [SEED]`, best under NVIDIA's compute-sanitizer.
//!
//! Each of `COUNT` files is the built-in checkpoint, encoded in small blocks, with some 32-bit words
//! of its payload overwritten: by flipped bits, by other words of the file, by numbers at the ends of
//! the range. Blocks are mostly so short that many of these words are counts. A file passes when the
//! kernels report damage or the decoded bytes differ, which is an error of its own, and when nothing
//! else goes wrong; after all of them the undamaged file must decode.

use std::process::ExitCode;

use wcodec::gpu::Decoder;
use wcodec::{Checkpoint, DEMO_CHECKPOINT, EncodeOptions, encode_safetensors_bytes};
use wcodec_tests::Random;

/// Words that are overwritten in each file.
const PLACES: usize = 8;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corrupt_on_gpu: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().ok_or("how many files?")?.parse()?;
    let random = &mut Random::new(arguments.next().map_or(Ok(1), |seed| seed.parse())?);
    let decoder = Decoder::new(0)?;
    let (mut found, mut harmless) = (0, 0);
    for number in 0..count {
        let options = EncodeOptions {
            block_elements: 1024 << (number % 4),
            states_per_lane: 1 + number / 4 % 2,
            ..EncodeOptions::default()
        };
        let (mut file, report) = encode_safetensors_bytes(DEMO_CHECKPOINT, &options)?;
        let payload: u64 = report.tensors.iter().map(|tensor| tensor.encoded_bytes).sum();
        let start = options.section_alignment;
        for _ in 0..PLACES {
            damage(&mut file[start..start + payload as usize], random);
        }
        match decode(&decoder, file) {
            Ok(()) => harmless += 1,
            Err(_) => found += 1,
        }
    }
    let (file, _) = encode_safetensors_bytes(DEMO_CHECKPOINT, &EncodeOptions::default())?;
    decode(&decoder, file)?;
    println!("{count} damaged files: {found} found, {harmless} decoded to the original bytes");
    Ok(())
}

fn damage(payload: &mut [u8], random: &mut Random) {
    let words = payload.len() / 4;
    let mut word = || 4 * (random.below(words as u64) as usize);
    let (at, from) = (word(), word());
    let copied: [u8; 4] = std::array::from_fn(|i| payload[from + i]);
    let old: [u8; 4] = std::array::from_fn(|i| payload[at + i]);
    let old = u32::from_le_bytes(old);
    let new = match random.below(6) {
        0 => u32::MAX,
        1 => 0,
        2 => u32::from_le_bytes(copied),
        3 => old.wrapping_add(1),
        4 => random.bits() as u32,
        _ => old ^ 1 << random.below(32),
    };
    payload[at..at + 4].copy_from_slice(&new.to_le_bytes());
}

fn decode(decoder: &Decoder, file: Vec<u8>) -> Result<(), Failure> {
    let length = u64::from_le_bytes(DEMO_CHECKPOINT[..8].try_into()?) as usize;
    let checkpoint = Checkpoint::from_bytes(file)?;
    decoder.time_kernels(&checkpoint, &DEMO_CHECKPOINT[8 + length..], 1)?;
    Ok(())
}
