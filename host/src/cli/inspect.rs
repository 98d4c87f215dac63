//! `wcodec inspect`.

use serde_json::{Value, json};
use wcodec::{Checkpoint, Explanation, Result, Tensor};

use super::answer::{Answer, digest_text, shown};
use super::arguments::Inspect;
use super::dtypes::DtypeTotals;
use super::table::{Align, Table, grouped, printable, ratio, ratio_text};
use super::{base, explain};

pub(super) fn run(arguments: &Inspect) -> Result<Answer> {
    let checkpoint = base::attach(Checkpoint::open(&arguments.file)?, arguments.base.as_deref())?;
    let mut totals = DtypeTotals::default();
    for tensor in checkpoint.tensors() {
        totals.add(tensor.dtype().name(), tensor.byte_len(), tensor.encoded_bytes());
    }
    let explanations = match arguments.explain {
        true => Some(checkpoint.tensors().map(|tensor| tensor.explain()).collect::<Result<_>>()?),
        false => None,
    };
    let explanations: Option<Vec<Explanation>> = explanations;
    let mut text = text(&checkpoint, &totals);
    if let Some(explanations) = &explanations {
        text = explain::text(&checkpoint, explanations) + &text;
    }
    Ok(Answer { text, json: json_of(&checkpoint, &totals, explanations.as_deref()) })
}

fn text(checkpoint: &Checkpoint, totals: &DtypeTotals) -> String {
    format!(
        "{}\n{}\n{}: format version {}, {} tables\nSHA-256 of the original: {}\n{}",
        tensor_table(checkpoint),
        totals.table(checkpoint.original_bytes(), checkpoint.encoded_bytes()),
        printable(&shown(checkpoint.path())),
        checkpoint.format_version(),
        grouped(checkpoint.table_count() as u64),
        digest_text(checkpoint.original_sha256().map(|sha256| wcodec::hex(&sha256)).as_deref()),
        base_sha256(checkpoint)
            .map(|base| format!("SHA-256 of the base: {base}\n"))
            .unwrap_or_default(),
    )
}

fn base_sha256(checkpoint: &Checkpoint) -> Option<String> {
    checkpoint.base_sha256().map(|sha256| wcodec::hex(&sha256))
}

fn tensor_table(checkpoint: &Checkpoint) -> String {
    let mut table = Table::new(&[
        ("Tensor", Align::Left),
        ("Dtype", Align::Left),
        ("Shape", Align::Left),
        ("Original bytes", Align::Right),
        ("Encoded bytes", Align::Right),
        ("Ratio", Align::Right),
        ("Plan", Align::Left),
    ]);
    for tensor in checkpoint.tensors() {
        table.row([
            tensor.name().to_owned(),
            tensor.dtype().name().to_owned(),
            format!("{:?}", tensor.shape()),
            grouped(tensor.byte_len()),
            grouped(tensor.encoded_bytes()),
            ratio_text(tensor.byte_len(), tensor.encoded_bytes()),
            match tensor.copy_of() {
                Some(original) => format!("copy of {original}"),
                None => plan_text(&tensor.plans()) + &tile_text(&tensor.tile_modes()),
            },
        ]);
    }
    table.render()
}

/// One plan by itself; of several the number of blocks that follow each.
fn plan_text(plans: &[(usize, String)]) -> String {
    match plans {
        [(_, coding)] => without_repeats(coding),
        _ => {
            let text = |(blocks, coding): &(usize, String)| {
                format!("{}; {} blocks", without_repeats(coding), grouped(*blocks as u64))
            };
            plans.iter().map(text).collect::<Vec<_>>().join(" | ")
        }
    }
}

/// The most frequent modes of tiles, with their part of all sub-blocks.
fn tile_text(modes: &[(usize, &str)]) -> String {
    /// Modes that are named.
    const NAMED: usize = 4;
    let all: usize = modes.iter().map(|(count, _)| count).sum();
    let text = |&(count, mode): &(usize, &str)| format!("{mode} {} %", (100 * count).div_ceil(all));
    let mut named: Vec<String> = modes.iter().take(NAMED).map(text).collect();
    if modes.len() > NAMED {
        named.push(format!("{} others", modes.len() - NAMED));
    }
    if named.is_empty() { String::new() } else { format!("; tiles: {}", named.join(", ")) }
}

/// Equal neighbours counted, such as "raw, constant 0x00 x3".
fn without_repeats(coding: &str) -> String {
    let planes: Vec<&str> = coding.split(", ").collect();
    let text = |run: &[&str]| match run.len() {
        1 => run[0].to_owned(),
        length => format!("{} x{length}", run[0]),
    };
    planes.chunk_by(|left, right| left == right).map(text).collect::<Vec<_>>().join(", ")
}

fn json_of(
    checkpoint: &Checkpoint,
    totals: &DtypeTotals,
    explanations: Option<&[Explanation]>,
) -> Value {
    let tensor = |(number, tensor): (usize, Tensor<'_>)| {
        tensor_json(&tensor, explanations.map(|explanations| &explanations[number]))
    };
    let (original, encoded) = (checkpoint.original_bytes(), checkpoint.encoded_bytes());
    json!({
        "command": "inspect",
        "file": shown(checkpoint.path()),
        "format_version": checkpoint.format_version(),
        "original_bytes": original,
        "encoded_bytes": encoded,
        "ratio": ratio(original, encoded),
        "sha256": checkpoint.original_sha256().map(|sha256| wcodec::hex(&sha256)),
        "base_sha256": base_sha256(checkpoint),
        "tables": checkpoint.table_count(),
        "tensors": checkpoint.tensors().enumerate().map(tensor).collect::<Vec<_>>(),
        "dtypes": totals.json(),
    })
}

fn tensor_json(tensor: &Tensor<'_>, explanation: Option<&Explanation>) -> Value {
    let plan = |(blocks, coding): (usize, String)| json!({ "blocks": blocks, "coding": coding });
    let mode = |(count, mode): (usize, &str)| json!({ "sub_blocks": count, "mode": mode });
    json!({
        "name": tensor.name(),
        "dtype": tensor.dtype().name(),
        "shape": tensor.shape(),
        "original_bytes": tensor.byte_len(),
        "encoded_bytes": tensor.encoded_bytes(),
        "ratio": ratio(tensor.byte_len(), tensor.encoded_bytes()),
        "copy_of": tensor.copy_of(),
        "plans": tensor.plans().into_iter().map(plan).collect::<Vec<_>>(),
        "tile_modes": tensor.tile_modes().into_iter().map(mode).collect::<Vec<_>>(),
        "explanation": explanation.map(explain::json),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_modes_are_named() {
        assert_eq!(tile_text(&[]), "");
        assert_eq!(tile_text(&[(3, "top"), (1, "left")]), "; tiles: top 75 %, left 25 %");
        let many = [(5, "a"), (2, "b"), (1, "c"), (1, "d"), (1, "e")];
        assert_eq!(tile_text(&many), "; tiles: a 50 %, b 20 %, c 10 %, d 10 %, 1 others");
    }

    #[test]
    fn plans_are_short() {
        assert_eq!(plan_text(&[]), "");
        assert_eq!(plan_text(&[(9, "raw, raw, pairs".into())]), "raw x2, pairs");
        let several = [(1000, "raw, pairs".into()), (1, "raw, raw".into())];
        assert_eq!(plan_text(&several), "raw, pairs; 1,000 blocks | raw x2; 1 blocks");
    }
}
