//! `wcodec encode`.

use std::path::Path;

use serde_json::json;
use wcodec::{EncodeOptions, EncodeReport, Result, encode_directory, encode_safetensors};

use super::answer::{Answer, digest_text, shown};
use super::arguments::{Common, Encode};
use super::directory;
use super::dtypes::DtypeTotals;
use super::table::{grouped, printable, ratio, ratio_text, speed};
use super::{base, paths, progress};

pub(super) fn run(arguments: &Encode, common: &Common) -> Result<Answer> {
    let input = &arguments.input;
    let output = paths::encoded(input, arguments.output.as_deref())?;
    if input.is_dir() {
        base::refuse_directory(arguments.base.as_deref(), input)?;
    }
    let options = options(arguments, common)?;
    if input.is_dir() {
        let report = encode_directory(input, &output, &options)?;
        let written = [("input", input.as_path()), ("output", &output)];
        return Ok(directory::answer("encode", "Encoded", &written, &report));
    }
    let report = encode_safetensors(input, &output, &options)?;
    Ok(answer(input, &output, &report))
}

fn options(arguments: &Encode, common: &Common) -> Result<EncodeOptions> {
    let defaults = EncodeOptions::of(arguments.profile.into());
    Ok(EncodeOptions {
        block_elements: arguments.block_elements.unwrap_or(defaults.block_elements),
        states_per_lane: arguments.states_per_lane.unwrap_or(defaults.states_per_lane),
        sha256: !arguments.no_sha256,
        base: base::open(arguments.base.as_deref())?,
        overwrite: common.force,
        progress: progress::bar("Encoding", common),
        ..defaults
    })
}

/// Totals of an encode, dtype by dtype.
pub(super) fn dtype_totals(report: &EncodeReport) -> DtypeTotals {
    let mut totals = DtypeTotals::default();
    for tensor in &report.tensors {
        totals.add(tensor.dtype.name(), tensor.original_bytes, tensor.encoded_bytes);
    }
    totals
}

fn answer(input: &Path, output: &Path, report: &EncodeReport) -> Answer {
    let (original, encoded) = (report.original_bytes, report.encoded_bytes);
    let sha256 = report.original_sha256.map(|sha256| wcodec::hex(&sha256));
    let text = format!(
        "Encoded {} to {}\n{} bytes to {} bytes, ratio {}, {}\nSHA-256 of the original: {}\n",
        printable(&shown(input)),
        printable(&shown(output)),
        grouped(original),
        grouped(encoded),
        ratio_text(original, encoded),
        speed(original, report.seconds),
        digest_text(sha256.as_deref()),
    );
    let json = json!({
        "command": "encode",
        "input": shown(input),
        "output": shown(output),
        "original_bytes": original,
        "encoded_bytes": encoded,
        "ratio": ratio(original, encoded),
        "sha256": sha256,
        "seconds": report.seconds,
        "tensors": report.tensors.len(),
        "dtypes": dtype_totals(report).json(),
    });
    Answer { text, json }
}
