//! Decodes damaged payloads on a GPU with the chunks' checksums left out:
//! `corrupt_on_gpu COUNT [SEED]`, best under NVIDIA's compute-sanitizer.
//!
//! The files are three in turn, each in both profiles and in small blocks: the built-in checkpoint,
//! one whose tensors are coded by class and in tiles, and that one again, stored against a base. Some
//! 32-bit words of the payload are overwritten: by flipped bits, by other words of the file, by
//! numbers at the ends of the range. Blocks are mostly so short that many of these words are counts.
//! A file passes when the kernels report damage or the decoded bytes differ, which is an error of its
//! own, and when nothing else goes wrong; after all of them the undamaged files must decode.

use std::process::ExitCode;
use std::sync::Arc;

use wcodec::gpu::Decoder;
use wcodec::safetensors::Dtype;
use wcodec::{Base, Checkpoint, DEMO_CHECKPOINT, EncodeOptions, Profile, encode_safetensors_bytes};
use wcodec_tests::{Pattern, Random, SmoothTable, TestTensor, safetensors_file};

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

/// A `.safetensors` file and what it is stored against.
struct Original {
    file: Vec<u8>,
    base: Option<Arc<Base>>,
}

fn originals() -> Result<[Original; 3], Failure> {
    let modelled = safetensors_file(&modelled_tensors(0))?;
    let base = safetensors_file(&modelled_tensors(1))?;
    Ok([
        Original { file: DEMO_CHECKPOINT.to_vec(), base: None },
        Original { file: modelled.clone(), base: None },
        Original { file: modelled, base: Some(Arc::new(Base::from_bytes(base)?)) },
    ])
}

/// Smooth tensors, and matrices whose rows and columns differ in scale. Of each matrix, some elements
/// are larger by `difference`.
fn modelled_tensors(difference: u8) -> Vec<TestTensor> {
    let random = &mut Random::new(11);
    let positions = SmoothTable::sinusoidal_positions(96, 128);
    let bank = SmoothTable::gabor_bank(96, 16);
    let mut tensors = vec![positions.as_i8(), positions.as_f16(), positions.as_f32(), bank.as_i8()];
    for dtype in [Dtype::I8, Dtype::BF16, Dtype::F32] {
        let name = format!("scales.{dtype}");
        let mut tensor = TestTensor::new(name, dtype, &[160, 256], Pattern::Gaussian, random);
        let width = tensor.bytes.len() / (160 * 256);
        for (place, element) in tensor.bytes.chunks_exact_mut(width).enumerate() {
            // The exponent's byte, or all there is.
            let top = &mut element[width - 1];
            let shift = (place % 8 + place / 256 % 4) as u8 / 3;
            *top = if width == 1 { ((*top as i8) >> shift) as u8 } else { top.wrapping_sub(shift) };
            if place % 50 == 0 {
                element[0] = element[0].wrapping_add(difference);
            }
        }
        tensors.push(tensor);
    }
    tensors
}

fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().ok_or("how many files?")?.parse()?;
    let random = &mut Random::new(arguments.next().map_or(Ok(1), |seed| seed.parse())?);
    let decoder = Decoder::new(0)?;
    let originals = originals()?;
    let (mut found, mut harmless) = (0, 0);
    for number in 0..count {
        let original = &originals[number % originals.len()];
        let number = number / originals.len();
        let profile = if number % 2 == 0 { Profile::Fast } else { Profile::Max };
        let options = EncodeOptions {
            block_elements: 1024 * [1, 2, 3, 8][number / 2 % 4],
            states_per_lane: 1 + number / 8 % 2,
            base: original.base.clone(),
            ..EncodeOptions::of(profile)
        };
        let (mut file, report) = encode_safetensors_bytes(&original.file, &options)?;
        let payload: u64 = report.tensors.iter().map(|tensor| tensor.encoded_bytes).sum();
        let start = options.section_alignment;
        for _ in 0..PLACES {
            damage(&mut file[start..start + payload as usize], random);
        }
        match decode(&decoder, original, file) {
            Ok(()) => harmless += 1,
            Err(_) => found += 1,
        }
    }
    for original in &originals {
        for profile in [Profile::Fast, Profile::Max] {
            let options =
                EncodeOptions { base: original.base.clone(), ..EncodeOptions::of(profile) };
            let (file, _) = encode_safetensors_bytes(&original.file, &options)?;
            decode(&decoder, original, file)?;
            let checkpoint = Checkpoint::from_bytes(
                encode_safetensors_bytes(&original.file, &EncodeOptions::of(profile))?.0,
            )?;
            let plans: Vec<_> = checkpoint.tensors().flat_map(|tensor| tensor.plans()).collect();
            println!("{profile:?}: {plans:?}");
        }
    }
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

fn decode(decoder: &Decoder, original: &Original, file: Vec<u8>) -> Result<(), Failure> {
    let length = u64::from_le_bytes(original.file[..8].try_into()?) as usize;
    let mut checkpoint = Checkpoint::from_bytes(file)?;
    if let Some(base) = &original.base {
        checkpoint = checkpoint.with_base(Arc::clone(base))?;
    }
    decoder.time_kernels(&checkpoint, &original.file[8 + length..], 1)?;
    Ok(())
}
