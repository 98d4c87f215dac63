//! `wcodec demo`.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use wcodec::{
    Checkpoint, DEMO_CHECKPOINT, EncodeOptions, EncodeReport, Error, RestoreOptions, Result,
    encode_safetensors,
};

use super::answer::{Answer, digest_text};
use super::encode::dtype_totals;
use super::table::{grouped, ratio, ratio_text, speed};

pub(super) fn run() -> Result<Answer> {
    let place = std::env::temp_dir();
    let folder = tempfile::Builder::new()
        .prefix("wcodec-demo-")
        .tempdir()
        .map_err(|error| Error::io("create a directory in", place, error))?;
    let original = folder.path().join("demo.safetensors");
    let encoded = folder.path().join("demo.safetensors.wcodec");
    let decoded = folder.path().join("decoded.safetensors");
    fs::write(&original, DEMO_CHECKPOINT).map_err(|error| Error::io("write", &original, error))?;
    let report = encode_safetensors(&original, &encoded, &EncodeOptions::default())?;
    let start = Instant::now();
    Checkpoint::open(&encoded)?.restore(&decoded, &RestoreOptions::default())?;
    let decode_seconds = start.elapsed().as_secs_f64();
    check_identical(&decoded)?;
    Ok(answer(&report, decode_seconds))
}

fn check_identical(decoded: &Path) -> Result<()> {
    let bytes = fs::read(decoded).map_err(|error| Error::io("read", decoded, error))?;
    if bytes != DEMO_CHECKPOINT {
        return Err(Error::Internal {
            detail: "the demonstration did not decode to what was encoded".to_owned(),
        });
    }
    Ok(())
}

fn answer(report: &EncodeReport, decode_seconds: f64) -> Answer {
    let (original, encoded) = (report.original_bytes, report.encoded_bytes);
    let totals = dtype_totals(report);
    let sha256 = report.original_sha256.map(|sha256| wcodec::hex(&sha256));
    let text = format!(
        "A checkpoint of real weights, {} tensors, encoded and decoded again:\n\n{}\n\
         {} bytes became {}, ratio {}.\nEncoded {}, decoded {}.\n\
         The decoded file is identical to the original, SHA-256 {}.\n",
        report.tensors.len(),
        totals.table(original, encoded),
        grouped(original),
        grouped(encoded),
        ratio_text(original, encoded),
        speed(original, report.seconds),
        speed(original, decode_seconds),
        digest_text(sha256.as_deref()),
    );
    let json = json!({
        "command": "demo",
        "original_bytes": original,
        "encoded_bytes": encoded,
        "ratio": ratio(original, encoded),
        "sha256": sha256,
        "encode_seconds": report.seconds,
        "decode_seconds": decode_seconds,
        "identical": true,
        "dtypes": totals.json(),
    });
    Answer { text, json }
}
