//! What is stored of a tensor whose elements are known from a base.
//!
//! A sample of each tensor says whether the base helps at all; where it doesn't, the tensor is coded
//! as if there were none, with everything that is for such tensors. Otherwise each block by itself is
//! taken as it is, as the exclusive or, or as the difference, whichever has the lowest entropy.

use codec::reference::{Reference, refer};
use codec::split::ElementLayout;
use rayon::prelude::*;

use super::entropy::entropy_bits;
use super::histogram::{PlaneCounts, estimate_planes};
use super::layout::element_layout;
use crate::base::Base;
use crate::format::ReferenceRecord;
use crate::safetensors::Header;

/// Blocks of a tensor that are looked at first.
const SAMPLE_BLOCKS: usize = 16;
/// Part of a tensor's bits that the base must save: what classes and tiles, which the tensor then
/// goes without, may save of others.
const LEAST_GAIN: f64 = 1.0 / 32.0;
/// Part of a file that the base must save: whoever decodes it has to keep the base.
const LEAST_FILE_GAIN: f64 = 1.0 / 256.0;

/// A block as it is taken.
#[derive(Clone)]
pub(crate) struct Referred {
    pub(crate) reference: ReferenceRecord,
    /// What is split into planes; the elements themselves without a reference.
    pub(crate) coded: Option<Vec<u8>>,
    pub(crate) counts: Vec<PlaneCounts>,
}

/// For each tensor of a file that is not `excluded` and that the base helps to store, its bytes in
/// the base. None at all where they save too little together.
pub(crate) fn find_references<'a>(
    file: &[u8],
    header: &Header,
    base: Option<&'a Base>,
    block_elements: usize,
    excluded: impl Fn(usize) -> bool + Sync,
) -> Vec<Option<&'a [u8]>> {
    let of_tensor = |(number, entry): (usize, &crate::safetensors::TensorEntry)| {
        let bytes = entry.bytes(file).unwrap_or_default();
        let base = base?.tensor(&entry.name, &entry.dtype, &entry.shape)?;
        let layout = element_layout(&entry.dtype);
        let alike = !excluded(number) && !bytes.is_empty() && base.len() == bytes.len();
        let part = alike.then(|| saved_part(layout, block_elements, bytes, base))?;
        (part > LEAST_GAIN).then_some((base, part * bytes.len() as f64))
    };
    let found: Vec<Option<(&[u8], f64)>> =
        header.tensors.par_iter().enumerate().map(of_tensor).collect();
    let saved: f64 = found.iter().flatten().map(|(_, saved)| saved).sum();
    let worth_it = saved > LEAST_FILE_GAIN * file.len() as f64;
    found.into_iter().map(|found| found.filter(|_| worth_it).map(|(base, _)| base)).collect()
}

/// The part of a tensor's coded bits that the base saves, of blocks spread over it.
fn saved_part(layout: ElementLayout, block_elements: usize, bytes: &[u8], base: &[u8]) -> f64 {
    let block_bytes = block_elements * layout.width.bytes();
    let step = bytes.len().div_ceil(block_bytes).div_ceil(SAMPLE_BLOCKS).max(1);
    let blocks = bytes.chunks(block_bytes).zip(base.chunks(block_bytes)).step_by(step);
    let (mut alone, mut referred) = (0.0, 0.0);
    for (block, base) in blocks {
        alone += bits(&estimate_planes(layout, block, 1));
        referred += bits(&refer_block(layout, block, base, 1).counts);
    }
    1.0 - referred / alone.max(1.0)
}

/// A block in the form that has the lowest entropy, order 0, plane by plane; one of `stride` spans of
/// it is counted. Of equals, the one that decodes fastest.
pub(crate) fn refer_block(
    layout: ElementLayout,
    elements: &[u8],
    base: &[u8],
    stride: usize,
) -> Referred {
    let mut best = Referred {
        reference: ReferenceRecord::None,
        coded: None,
        counts: estimate_planes(layout, elements, stride),
    };
    let mut least = bits(&best.counts);
    for reference in [ReferenceRecord::Xor, ReferenceRecord::Difference] {
        let Some(operation) = reference.operation() else { continue };
        let (coded, counts) = take(operation, layout, elements, base, stride);
        let bits = bits(&counts);
        if bits < least {
            least = bits;
            best = Referred { reference, coded: Some(coded), counts };
        }
        if bits == 0.0 {
            break;
        }
    }
    best
}

fn take(
    operation: Reference,
    layout: ElementLayout,
    elements: &[u8],
    base: &[u8],
    stride: usize,
) -> (Vec<u8>, Vec<PlaneCounts>) {
    let mut coded = vec![0; elements.len()];
    refer(operation, layout, elements, base, &mut coded);
    let counts = estimate_planes(operation.coded_layout(layout), &coded, stride);
    (coded, counts)
}

fn bits(planes: &[PlaneCounts]) -> f64 {
    planes.iter().map(entropy_bits).sum()
}
