//! The tables of `wcodec inspect --explain`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wcodec::{Checkpoint, Explanation, ToolGain};

use super::table::{Align, Table, grouped};

/// Bits per element of each tensor's planes, and what the tools save of the whole file.
pub(super) fn text(checkpoint: &Checkpoint, explanations: &[Explanation]) -> String {
    let mut tensors = Table::new(&[
        ("Tensor", Align::Left),
        ("Order-0 bits of the planes", Align::Left),
        ("Stored bits", Align::Left),
        ("Other", Align::Right),
        ("Saved by", Align::Left),
    ]);
    let mut totals: BTreeMap<&str, ToolGain> = BTreeMap::new();
    for (tensor, explanation) in checkpoint.tensors().zip(explanations) {
        tensors.row([
            tensor.name().to_owned(),
            bits_text(&explanation.order0_bits),
            bits_text(&explanation.stored_bits),
            format!("{:.3}", explanation.other_bits),
            tools_text(explanation),
        ]);
        for (name, gain) in &explanation.tools {
            let total = totals.entry(name).or_default();
            total.blocks += gain.blocks;
            total.order0_bytes += gain.order0_bytes;
            total.stored_bytes += gain.stored_bytes;
        }
    }
    let mut tools = Table::new(&[
        ("Tool", Align::Left),
        ("Blocks", Align::Right),
        ("Order-0 bytes", Align::Right),
        ("Stored bytes", Align::Right),
        ("Saved", Align::Right),
    ]);
    for (name, gain) in totals {
        tools.row([
            name.to_owned(),
            grouped(gain.blocks as u64),
            grouped(gain.order0_bytes.round() as u64),
            grouped(gain.stored_bytes),
            share_text(&gain),
        ]);
    }
    format!("{}\n{}\n", tensors.render(), tools.render())
}

fn bits_text(bits: &[f64]) -> String {
    bits.iter().map(|bits| format!("{bits:.3}")).collect::<Vec<_>>().join(" ")
}

fn tools_text(explanation: &Explanation) -> String {
    let text = |(name, gain): (&String, &ToolGain)| format!("{name} {}", share_text(gain));
    explanation.tools.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// What is saved, as a part of what order-0 coding takes.
fn share_text(gain: &ToolGain) -> String {
    match gain.order0_bytes {
        0.0 => "-".into(),
        order0 => format!("{:.2} %", 100.0 * gain.saved_bytes() / order0),
    }
}

/// An explanation as an object.
pub(super) fn json(explanation: &Explanation) -> Value {
    let tool = |(name, gain): (&String, &ToolGain)| {
        json!({
            "tool": name,
            "blocks": gain.blocks,
            "order0_bytes": gain.order0_bytes,
            "stored_bytes": gain.stored_bytes,
            "saved_bytes": gain.saved_bytes(),
        })
    };
    json!({
        "order0_bits": explanation.order0_bits,
        "stored_bits": explanation.stored_bits,
        "other_bits": explanation.other_bits,
        "tools": explanation.tools.iter().map(tool).collect::<Vec<_>>(),
    })
}
