//! `wcodec verify`.

use std::path::Path;

use serde_json::json;
use wcodec::{Checkpoint, Progress, Result, verify_directory, verify_directory_against};

use super::answer::{Answer, compared_digest_text, shown};
use super::arguments::{Common, Verify};
use super::table::{grouped, printable, ratio, speed};
use super::{base, directory, gpu, progress};

pub(super) fn run(arguments: &Verify, common: &Common) -> Result<Answer> {
    let bar = progress::bar("Verifying", common);
    let (input, against) = (arguments.input.as_path(), arguments.against.as_deref());
    if input.is_dir() {
        gpu::refuse_directory(arguments.device, input)?;
        base::refuse_directory(arguments.base.as_deref(), input)?;
        directory::refuse_without_sha256(arguments.no_sha256, input)?;
        return verify_tree(input, against, bar.as_deref());
    }
    let decoder = gpu::decoder(arguments.device)?;
    let device = gpu::described(decoder.as_ref());
    let mut checkpoint = base::attach(Checkpoint::open(input)?, arguments.base.as_deref())?;
    if let Some(decoder) = decoder {
        checkpoint = checkpoint.with_decoder(decoder);
    }
    if arguments.no_sha256 {
        checkpoint = checkpoint.without_sha256();
    }
    let report = match against {
        Some(original) => checkpoint.verify_against(original, bar.as_deref())?,
        None => checkpoint.verify(bar.as_deref())?,
    };
    let (original, encoded) = (checkpoint.original_bytes(), checkpoint.encoded_bytes());
    let sha256 = checkpoint.original_sha256().map(|sha256| wcodec::hex(&sha256));
    let compared = against
        .map(|path| format!("; it decodes to exactly {}", printable(&shown(path))))
        .unwrap_or_default();
    let text = format!(
        "{} is undamaged{compared}\n{} tensors, {} bytes decoded on {device} {}\nSHA-256 of the original: {}\n",
        printable(&shown(input)),
        grouped(report.tensors as u64),
        grouped(original),
        speed(original, report.seconds),
        compared_digest_text(sha256.as_deref(), !arguments.no_sha256),
    );
    let json = json!({
        "command": "verify",
        "input": shown(input),
        "against": against.map(shown),
        "original_bytes": original,
        "encoded_bytes": encoded,
        "ratio": ratio(original, encoded),
        "sha256": sha256,
        "seconds": report.seconds,
        "tensors": report.tensors,
        "chunks": report.chunks,
        "device": device,
    });
    Ok(Answer { text, json })
}

fn verify_tree(
    input: &Path,
    against: Option<&Path>,
    progress: Option<&dyn Progress>,
) -> Result<Answer> {
    let report = match against {
        Some(original) => verify_directory_against(input, original, progress)?,
        None => verify_directory(input, progress)?,
    };
    let paths: Vec<(&str, &Path)> = [Some(("input", input)), against.map(|path| ("against", path))]
        .into_iter()
        .flatten()
        .collect();
    let mut answer = directory::answer("verify", "Undamaged:", &paths, &report);
    answer.json["against"] = against.map(shown).into();
    Ok(answer)
}
