//! What a tensor's bytes consist of, and what each tool of the encoder saves.

use std::collections::BTreeMap;

use codec::block::{BlockLayout, Part, PlaneCoding};
use codec::constants::ALPHABET;
use codec::split::ElementLayout;

use super::blocks::{layout_of, spec_of};
use super::tensor::Tensor;
use crate::encode::estimate_planes;
use crate::error::{Error, Result};
use crate::format::{PlanRecord, ReferenceRecord, TilingRecord};

/// What a tensor's bytes consist of; see [`Tensor::explain`].
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Bits per element of each byte plane by its order-0 entropy, the lowest plane first.
    pub order0_bits: Vec<f64>,
    /// Bits per element of each plane as it is stored. Planes of tiles or of differences from a base
    /// are not those of the elements, and there may be more of them.
    pub stored_bits: Vec<f64>,
    /// Bits per element of blocks that are in no plane: counts and what aligns them.
    pub other_bits: f64,
    /// What each tool saves, by its name.
    pub tools: BTreeMap<String, ToolGain>,
}

/// What a tool saves.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ToolGain {
    /// Blocks that it is used in.
    pub blocks: usize,
    /// Bytes that their planes take by their order-0 entropy in the whole tensor.
    pub order0_bytes: f64,
    /// Bytes that they take.
    pub stored_bytes: u64,
}

impl ToolGain {
    /// Bytes that the tool saves over order-0 coding; negative for what it costs.
    pub fn saved_bytes(&self) -> f64 {
        self.order0_bytes - self.stored_bytes as f64
    }
}

impl Tensor<'_> {
    /// What the tensor's bytes consist of, plane by plane, and what each tool of the encoder saves
    /// over coding every byte plane by itself with one table (order-0). The whole tensor is decoded
    /// for it.
    ///
    /// A tool is `base` (differences from another checkpoint), `copy` (of another tensor), `tiles`
    /// (predictions and transforms), `heads` and `classes` (tables by row and column), or else how
    /// the last plane is coded: `pairs`, `nibble pairs`, `symbols`, `raw`, `constant`. The index is
    /// not counted.
    ///
    /// # Errors
    ///
    /// As [`Tensor::decode`].
    pub fn explain(&self) -> Result<Explanation> {
        let record = self.record();
        let layout = layout_of(record).ok_or_else(|| self.unreadable(0))?;
        let (order0_bits, elements) = order0_bits(layout, self.decode()?.as_bytes());
        let order0_bytes =
            |elements: usize| elements as f64 * order0_bits.iter().sum::<f64>() / 8.0;
        let mut tools: BTreeMap<String, ToolGain> = BTreeMap::new();
        let (mut planes, mut total) = (Vec::new(), 0);
        if record.copy_of.is_some() {
            let order0_bytes = order0_bytes(elements);
            tools.insert("copy".into(), ToolGain { blocks: 0, order0_bytes, stored_bytes: 0 });
        }
        let mut payload = Vec::new();
        for chunk in 0..record.chunks.len() {
            payload.extend_from_slice(self.chunk_bytes(chunk)?);
        }
        let mut rest = &payload[..];
        for (number, block) in record.blocks.iter().enumerate() {
            let plan = &record.plans[usize::from(block.plan)];
            let bytes = rest.split_off(..block.bytes as usize);
            let bytes = bytes.ok_or_else(|| self.unreadable(number))?;
            let in_block = (elements - number * record.block_elements as usize)
                .min(record.block_elements as usize);
            self.add_planes(number, plan, in_block, bytes, &mut planes)?;
            total += bytes.len();
            let tool = tools.entry(tool_of(plan)).or_default();
            tool.blocks += 1;
            tool.order0_bytes += order0_bytes(in_block);
            tool.stored_bytes += bytes.len() as u64;
        }
        let per_element = |bytes: usize| 8.0 * bytes as f64 / elements.max(1) as f64;
        let other = total - planes.iter().sum::<usize>();
        Ok(Explanation {
            order0_bits,
            stored_bits: planes.into_iter().map(per_element).collect(),
            other_bits: per_element(other),
            tools,
        })
    }

    /// Adds the bytes of each plane of a block.
    fn add_planes(
        &self,
        number: usize,
        plan: &PlanRecord,
        elements: usize,
        bytes: &[u8],
        planes: &mut Vec<usize>,
    ) -> Result<()> {
        let unreadable = || self.unreadable(number);
        let record = self.record();
        let tiles = record.tiled_block(number, elements, plan).map_err(|_| unreadable())?;
        let coded = match tiles {
            Some(tiles) => tiles.coded_bytes(),
            None => elements * usize::from(record.width),
        };
        let spec = spec_of(record, plan, coded).ok_or_else(unreadable)?;
        let layout = BlockLayout::read(&spec, bytes).map_err(|_| unreadable())?;
        planes.resize(planes.len().max(spec.planes().len()), 0);
        for (sum, part) in planes.iter_mut().zip(&layout.parts[..spec.planes().len()]) {
            *sum += match part {
                Part::Raw { length, .. } => *length,
                Part::Constant(_) | Part::InHeads => 0,
                Part::Stream(stream) => {
                    let list = size_of::<u16>() * stream.words + size_of::<u32>() * stream.escapes;
                    stream.raw_length + stream.shape.state_bytes() + list
                }
            };
        }
        Ok(())
    }

    fn unreadable(&self, block: usize) -> Error {
        Error::Corrupt {
            what: self.display(),
            location: format!("block {block}"),
            detail: "its parts do not lie where its description says".into(),
        }
    }
}

/// Bits per element of each plane by its order-0 entropy, and the number of elements.
fn order0_bits(layout: ElementLayout, bytes: &[u8]) -> (Vec<f64>, usize) {
    /// Bytes that are counted at a time, in 32 bits.
    const COUNTED: usize = 1 << 24;
    let width = layout.width.bytes();
    let mut counts = vec![[0u64; ALPHABET]; width];
    for part in bytes.chunks(COUNTED) {
        for (sums, counts) in counts.iter_mut().zip(estimate_planes(layout, part, 1)) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(count));
        }
    }
    let elements = bytes.len() / width;
    let entropy = |counts: &[u64; ALPHABET]| -> f64 {
        let share = |&count: &u64| count as f64 / elements as f64;
        counts
            .iter()
            .filter(|&&count| count > 0)
            .map(|count| -share(count) * share(count).log2())
            .sum()
    };
    // Not "-0", which the sum of nothing would be.
    (counts.iter().map(|counts| entropy(counts).max(0.0)).collect(), elements)
}

/// The tool that makes most of a plan's difference.
fn tool_of(plan: &PlanRecord) -> String {
    if plan.reference != ReferenceRecord::None {
        return "base".into();
    }
    if plan.tiling != TilingRecord::None {
        return "tiles".into();
    }
    match plan.planes.last().map(|plane| plane.coding()) {
        Some(PlaneCoding::Heads { .. }) => "heads",
        Some(PlaneCoding::Classes) => "classes",
        Some(PlaneCoding::Pairs) => "pairs",
        Some(PlaneCoding::NibblePairs) => "nibble pairs",
        Some(PlaneCoding::Symbols) => "symbols",
        Some(PlaneCoding::Constant(_)) => "constant",
        Some(PlaneCoding::Raw | PlaneCoding::InHeads) | None => "raw",
    }
    .into()
}
