//! Counts of the symbols that blocks are coded as: of parts of them, where that does.

use codec::block::{BlockSpec, PlaneCoding};
use codec::constants::ALPHABET;
use rayon::prelude::*;

use super::histogram::{ByteCounter, Missed, is_exact};
use super::plan::PlanInput;
use crate::simd::level;

impl PlanInput<'_, '_> {
    /// Counts of the symbols that a plane of `blocks` is coded as: those of one part of `step` of each
    /// block, taken for all of them.
    pub(super) fn count_symbols(
        &self,
        coded: (usize, PlaneCoding),
        ranks: &[Option<u8>; ALPHABET],
        blocks: &[usize],
        step: usize,
    ) -> [u64; ALPHABET] {
        /// Bytes that are worth a call: small parts are copied together.
        const CALL_BYTES: usize = 64 << 10;
        let width = self.layout.width.bytes();
        let layout = BlockSpec::layout_for(self.layout, coded.1);
        // Symbols of pairs must not be of elements of two parts.
        let is_even = |part: &[u8]| part.len().is_multiple_of(2 * width);
        let parts: Vec<&[u8]> = blocks.iter().map(|&block| self.part_of(block, step)).collect();
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let at_a_time = (CALL_BYTES * parts.len() / bytes.max(1)).max(1);
        let count = |mut counter: ByteCounter, parts: &[&[u8]]| {
            self.rooms.lend(|room| {
                let together = parts.len() > 1 && parts.iter().all(|part| is_even(part));
                let step = if together { parts.len() } else { 1 };
                for parts in parts.chunks(step) {
                    let bytes: usize = parts.iter().map(|part| part.len()).sum();
                    room.resize(room.len().max(3 * bytes), 0);
                    let (joined, room) = room.split_at_mut(bytes);
                    let elements = match parts {
                        [part] => part,
                        _ => join(parts, joined),
                    };
                    let (planes, symbols) = room.split_at_mut(bytes);
                    let symbols = level().symbols(layout, coded, ranks, elements, planes, symbols);
                    counter.add(symbols);
                }
            });
            counter
        };
        let zeros = || [0u64; ALPHABET];
        let counters = parts.par_chunks(at_a_time).fold(ByteCounter::default, count);
        let counts = counters.map(|counter| counter.counts().map(u64::from));
        let mut counts = counts.reduce(zeros, sum_of);
        let all: usize = blocks.iter().map(|&block| self.elements(block)).sum();
        let counted: usize = blocks.iter().map(|&block| self.part_elements(block, step)).sum();
        if counted < all {
            let scale = all as f64 / counted.max(1) as f64;
            counts.iter_mut().for_each(|count| *count = (*count as f64 * scale).round() as u64);
        }
        counts
    }

    /// The same of elements of one byte that are a symbol each, with the counts that `estimated` was made
    /// of put to use. Those that the parts lack and others have are counted once.
    pub(super) fn count_bytes_of(
        &self,
        blocks: &[usize],
        estimated: &[u64; ALPHABET],
        step: usize,
    ) -> [u64; ALPHABET] {
        let stride = self.profile.stride();
        // Blocks that are too small for a sample have been counted as a whole.
        let sampled = |&&block: &&usize| !is_exact(self.elements(block), stride);
        let zeros = || [0u64; ALPHABET];
        let mut whole = zeros();
        for &block in blocks.iter().filter(|block| !sampled(block)) {
            whole.iter_mut().zip(&self.counts[block][0]).for_each(|(a, &b)| *a += u64::from(b));
        }
        let count = |mut counter: ByteCounter, &block: &usize| {
            if sampled(&&block) {
                counter.add_spans(self.blocks[block], stride, 1..stride.div_ceil(step));
            }
            counter
        };
        let counters = blocks.par_iter().fold(ByteCounter::default, count);
        let others = counters.map(|counter| counter.counts().map(u64::from)).reduce(zeros, sum_of);
        let mut counts: [u64; ALPHABET] = std::array::from_fn(|byte| {
            (estimated[byte] - whole[byte]) / stride as u64 + others[byte]
        });
        let counted: u64 = counts.iter().sum();
        let all: usize = blocks.iter().filter(sampled).map(|&block| self.elements(block)).sum();
        if counted < all as u64 {
            let scale = all as f64 / counted.max(1) as f64;
            counts.iter_mut().for_each(|count| *count = (*count as f64 * scale).round() as u64);
        }
        counts.iter_mut().zip(whole).for_each(|(count, whole)| *count += whole);
        if counted < all as u64 {
            let missed = Missed::new(&counts);
            let note = |mut found: [u64; ALPHABET], &block: &usize| {
                missed.note(self.blocks[block], &mut found);
                found
            };
            let found = blocks.par_iter().fold(zeros, note).reduce(zeros, sum_of);
            counts
                .iter_mut()
                .zip(found)
                .filter(|(count, _)| **count == 0)
                .for_each(|(count, found)| *count = found.min(1));
        }
        counts
    }

    /// Elements of one of `step` parts of a block, whole pairs.
    fn part_elements(&self, block: usize, step: usize) -> usize {
        self.elements(block).div_ceil(step).next_multiple_of(2).min(self.elements(block))
    }

    /// One of `step` parts of a block, another one of each block in turn.
    fn part_of(&self, block: usize, step: usize) -> &[u8] {
        let count = self.part_elements(block, step);
        let first = (block % step * count).min(self.elements(block) - count) / 2 * 2;
        let width = self.layout.width.bytes();
        &self.blocks[block][first * width..][..count * width]
    }
}

/// One part after the other in `joined`, which has as many bytes.
fn join<'a>(parts: &[&[u8]], joined: &'a mut [u8]) -> &'a [u8] {
    let mut rest = &mut *joined;
    for part in parts {
        let (now, later) = rest.split_at_mut(part.len());
        now.copy_from_slice(part);
        rest = later;
    }
    joined
}

fn sum_of(mut a: [u64; ALPHABET], b: [u64; ALPHABET]) -> [u64; ALPHABET] {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}
