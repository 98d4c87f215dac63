//! Kills the command at random moments of encoding and decoding:
//! `kill_at_random PATH-OF-WCODEC [COUNT] [SEED]`, 200 times by default.

use std::path::Path;
use std::process::ExitCode;

use wcodec::safetensors::Dtype;
use wcodec_tests::{Pattern, Random, TestTensor, kill_at_random, safetensors_file};

/// Enough that most kills hit a run that is writing.
const ELEMENTS: u64 = 12 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(broken) => ExitCode::from(u8::from(broken > 0)),
        Err(error) => {
            eprintln!("kill_at_random: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("where is the command?")?;
    let count = arguments.next().map_or(Ok(200), |count| count.parse())?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let random = &mut Random::new(3);
    let tensor = TestTensor::new("w", Dtype::BF16, &[ELEMENTS], Pattern::Gaussian, random);
    let folder = tempfile::tempdir()?;
    let original = safetensors_file(&[tensor])?;
    let kills = kill_at_random(Path::new(&program), &original, folder.path(), count, seed)?;
    println!("{kills:?}");
    Ok(kills.broken)
}
