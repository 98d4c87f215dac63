//! What encode, decode and verify say of a directory.

use std::path::Path;

use serde_json::{Value, json};
use wcodec::{DirectoryFile, DirectoryReport, Error, Result};

use super::answer::{Answer, shown};
use super::table::{Align, Table, grouped, printable, ratio, ratio_text, speed};

/// Says that --no-sha256 is not for directories.
pub(super) fn refuse_without_sha256(without: bool, input: &Path) -> Result<()> {
    if !without {
        return Ok(());
    }
    Err(Error::InvalidArgument {
        what: format!("--no-sha256 for the directory {}", shown(input)),
        detail: "of a directory several files are hashed at a time; name one of its files".into(),
    })
}

/// Describes a command done on a directory. `done` is its verb; `paths` are the directories it
/// worked on, by their JSON keys.
pub(super) fn answer(
    command: &str,
    done: &str,
    paths: &[(&str, &Path)],
    report: &DirectoryReport,
) -> Answer {
    let (original, encoded) = (report.original_bytes(), report.encoded_bytes());
    let checkpoints = report.checkpoints().count();
    let others = report.files.len() - checkpoints;
    let names: Vec<String> = paths.iter().map(|(_, path)| printable(&shown(path))).collect();
    let text = format!(
        "{}\n{done} {}\nCheckpoints: {}, other files: {}, {}\n",
        table(report),
        names.join(if command == "verify" { " against " } else { " to " }),
        grouped(checkpoints as u64),
        grouped(others as u64),
        speed(original, report.seconds),
    );
    let mut json = json!({
        "command": command,
        "original_bytes": original,
        "encoded_bytes": encoded,
        "ratio": ratio(original, encoded),
        "seconds": report.seconds,
        "checkpoints": checkpoints,
        "copied": others,
        "files": report.files.iter().map(file_json).collect::<Vec<_>>(),
    });
    for &(key, path) in paths {
        json[key] = shown(path).into();
    }
    Answer { text, json }
}

fn table(report: &DirectoryReport) -> String {
    let mut table = Table::new(&[
        ("File", Align::Left),
        ("Original bytes", Align::Right),
        ("Encoded bytes", Align::Right),
        ("Ratio", Align::Right),
    ]);
    for file in report.checkpoints() {
        table.row(cells(shown(&file.path), file.original_bytes, file.encoded_bytes));
    }
    let (original, encoded) = (report.original_bytes(), report.encoded_bytes());
    let checkpoint_sum =
        |bytes: fn(&DirectoryFile) -> u64| report.checkpoints().map(bytes).sum::<u64>();
    let others = original - checkpoint_sum(|file| file.original_bytes);
    if report.files.len() > report.checkpoints().count() {
        table.row(cells("(other files)".to_owned(), others, others));
    }
    table.row(cells("Total".to_owned(), original, encoded));
    table.render()
}

fn cells(name: String, original: u64, encoded: u64) -> [String; 4] {
    [name, grouped(original), grouped(encoded), ratio_text(original, encoded)]
}

fn file_json(file: &DirectoryFile) -> Value {
    json!({
        "path": shown(&file.path),
        "original_bytes": file.original_bytes,
        "encoded_bytes": file.encoded_bytes,
        "ratio": ratio(file.original_bytes, file.encoded_bytes),
        "sha256": file.original_sha256.map(|sha256| wcodec::hex(&sha256)),
    })
}
