//! `wcodec decode`.

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use wcodec::{Checkpoint, Error, RestoreOptions, Result, SalvageReport, restore_directory};

use super::answer::{Answer, compared_digest_text, shown};
use super::arguments::{Common, Decode};
use super::table::{grouped, printable, ratio, speed};
use super::{base, directory, gpu, paths, progress};

pub(super) fn run(arguments: &Decode, common: &Common) -> Result<Answer> {
    let input = &arguments.input;
    let output = paths::decoded(input, arguments.output.as_deref())?;
    let options =
        RestoreOptions { overwrite: common.force, progress: progress::bar("Decoding", common) };
    if arguments.salvage {
        return salvage(input, &output, &options, common);
    }
    if input.is_dir() {
        gpu::refuse_directory(arguments.device, input)?;
        base::refuse_directory(arguments.base.as_deref(), input)?;
        directory::refuse_without_sha256(arguments.no_sha256, input)?;
        let report = restore_directory(input, &output, &options)?;
        let written = [("input", input.as_path()), ("output", &output)];
        return Ok(directory::answer("decode", "Decoded", &written, &report));
    }
    let decoder = gpu::decoder(arguments.device)?;
    let device = gpu::described(decoder.as_ref());
    let start = Instant::now();
    let mut checkpoint = base::attach(Checkpoint::open(input)?, arguments.base.as_deref())?;
    if let Some(decoder) = decoder {
        checkpoint = checkpoint.with_decoder(decoder);
    }
    if arguments.no_sha256 {
        checkpoint = checkpoint.without_sha256();
    }
    checkpoint.restore(&output, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    let (original, encoded) = (checkpoint.original_bytes(), checkpoint.encoded_bytes());
    let sha256 = checkpoint.original_sha256().map(|sha256| wcodec::hex(&sha256));
    let text = format!(
        "Decoded {} to {} on {device}\n{} bytes, {}\nSHA-256: {}\n",
        printable(&shown(input)),
        printable(&shown(&output)),
        grouped(original),
        speed(original, seconds),
        compared_digest_text(sha256.as_deref(), !arguments.no_sha256),
    );
    let json = json!({
        "command": "decode",
        "input": shown(input),
        "output": shown(&output),
        "original_bytes": original,
        "encoded_bytes": encoded,
        "ratio": ratio(original, encoded),
        "sha256": sha256,
        "seconds": seconds,
        "tensors": checkpoint.tensors().len(),
        "device": device,
    });
    Ok(Answer { text, json })
}

/// Writes what is intact. What is lost is part of the answer, and an error as well.
fn salvage(
    input: &Path,
    output: &Path,
    options: &RestoreOptions,
    common: &Common,
) -> Result<Answer> {
    if input.is_dir() {
        return Err(Error::InvalidArgument {
            what: format!("--salvage with the directory {}", printable(&shown(input))),
            detail: "it takes one file at a time; name the damaged file".into(),
        });
    }
    let checkpoint = Checkpoint::open(input)?;
    let report = checkpoint.salvage(output, options)?;
    let answer = salvage_answer(input, output, &report);
    if report.lost.is_empty() {
        return Ok(answer);
    }
    super::print(&answer, common);
    Err(Error::Incomplete {
        what: checkpoint.path().display().to_string(),
        lost_bytes: report.lost_bytes(),
        bytes: report.original_bytes,
    })
}

fn salvage_answer(input: &Path, output: &Path, report: &SalvageReport) -> Answer {
    let mut text = format!(
        "Salvaged {} to {}\n{} of {} bytes are lost, and zeros in their place\n",
        printable(&shown(input)),
        printable(&shown(output)),
        grouped(report.lost_bytes()),
        grouped(report.original_bytes),
    );
    for lost in &report.lost {
        let (start, end) = (grouped(lost.start), grouped(lost.end));
        let (tensor, reason) = (printable(&lost.tensor), printable(&lost.reason));
        text += &format!("{tensor}, bytes {start} to {end}: {reason}\n");
    }
    let json = json!({
        "command": "decode",
        "input": shown(input),
        "output": shown(output),
        "original_bytes": report.original_bytes,
        "lost_bytes": report.lost_bytes(),
        "lost": report.lost,
        "seconds": report.seconds,
    });
    Answer { text, json }
}
