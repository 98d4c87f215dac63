//! Counts of byte values: estimated for planning, exact for tables.

use std::ops::Range;

use codec::constants::ALPHABET;
use codec::simd::prefetch;
use codec::split::{ElementLayout, Width, head_first_32};

use crate::simd::level;

/// Counts of one plane of one block.
pub(crate) type PlaneCounts = [u32; ALPHABET];

/// Elements of a block up to which more than one set of counters costs more than it gains.
const FEW_ELEMENTS: usize = 512;
/// Elements of a block up to which its planes are counted exactly.
const EXACT_ELEMENTS: usize = 8192;
/// Elements that are counted one after the other: enough for the processor to fetch ahead.
const SPAN: usize = 1024;

/// Counts of all planes of a block of F32 elements that lie head first, plane 0 first.
pub(crate) fn count_head_first(elements: &[u8]) -> Vec<PlaneCounts> {
    estimate(elements, 1, |e| head_first_32(u32::from_le_bytes(e)).to_le_bytes())
}

/// Whether the planes of a block are counted exactly by [`estimate_planes`]: one of few elements, and one
/// whose last `stride` spans are not all there, of which a sample would stand for too many or too few.
pub(crate) const fn is_exact(elements: usize, stride: usize) -> bool {
    elements <= EXACT_ELEMENTS || stride == 1 || !elements.is_multiple_of(SPAN * stride)
}

/// Counts of all planes of a block, plane 0 first: in a large block, those of one of `stride` spans
/// (a power of two) times as much. Exact for planes that have a single value.
pub(crate) fn estimate_planes(
    layout: ElementLayout,
    elements: &[u8],
    stride: usize,
) -> Vec<PlaneCounts> {
    let rotation = u32::from(layout.rotated);
    match layout.width {
        // Bytes are symbols as they are, whatever their nibbles would be.
        Width::One => vec![estimate_bytes(elements, stride)],
        Width::Two => estimate(elements, stride, |e| {
            u16::from_le_bytes(e).rotate_left(rotation).to_le_bytes()
        }),
        Width::Four => estimate(elements, stride, |e| {
            u32::from_le_bytes(e).rotate_left(rotation).to_le_bytes()
        }),
        Width::Eight => estimate(elements, stride, |e| {
            u64::from_le_bytes(e).rotate_left(rotation).to_le_bytes()
        }),
    }
}

/// Which of `stride` spans is counted the `number`th time: not the same place each time, which might be
/// the same columns of every row.
const fn place_of_span(number: usize, stride: usize) -> usize {
    number.wrapping_mul(0x9E37_79B9) >> 16 & (stride - 1)
}

/// [`estimate`] of elements that are a byte each.
fn estimate_bytes(bytes: &[u8], stride: usize) -> PlaneCounts {
    let mut counter = ByteCounter::default();
    if is_exact(bytes.len(), stride) {
        counter.add(bytes);
        return counter.counts();
    }
    counter.add_spans(bytes, stride, 0..1);
    let counts = counter.counts();
    if counts.iter().filter(|&&count| count > 0).count() > 1 {
        return counts.map(|count| count * stride as u32);
    }
    // See [`estimate`].
    let mut counter = ByteCounter::default();
    counter.add(bytes);
    counter.counts()
}

fn estimate<const W: usize>(
    elements: &[u8],
    stride: usize,
    rotate: impl Fn([u8; W]) -> [u8; W],
) -> Vec<PlaneCounts> {
    let elements = elements.as_chunks::<W>().0;
    if elements.len() <= FEW_ELEMENTS {
        let mut counts = vec![[0; ALPHABET]; W];
        for element in elements {
            let bytes = rotate(*element);
            counts.iter_mut().zip(bytes).for_each(|(plane, byte)| plane[usize::from(byte)] += 1);
        }
        return counts;
    }
    let mut counts = vec![[[0; ALPHABET]; SETS]; W];
    if is_exact(elements.len(), stride) {
        count(&mut counts, elements, &rotate);
        return counts.into_iter().map(sum).collect();
    }
    for (number, spans) in elements.chunks(SPAN * stride).enumerate() {
        let span = spans.chunks(SPAN).nth(place_of_span(number, stride)).unwrap_or_default();
        count(&mut counts, span, &rotate);
    }
    let mut counts: Vec<PlaneCounts> = counts.into_iter().map(sum).collect();
    for (plane, counts) in counts.iter_mut().enumerate() {
        if counts.iter().filter(|&&count| count > 0).count() > 1 {
            counts.iter_mut().for_each(|count| *count *= stride as u32);
        } else {
            // Few values of one kind among many of another make a plane that a sample misjudges.
            *counts = [0; ALPHABET];
            elements.iter().for_each(|e| counts[usize::from(rotate(*e)[plane])] += 1);
        }
    }
    counts
}

/// Sets of counters of a plane. Neighbours are often equal; with a set for each of the next elements
/// the processor can start on one before the store to its neighbour's counter has landed.
const SETS: usize = 4;

fn count<const W: usize>(
    counts: &mut [[PlaneCounts; SETS]],
    elements: &[[u8; W]],
    rotate: impl Fn([u8; W]) -> [u8; W],
) {
    let Some(counts) = counts.first_chunk_mut::<W>() else { return };
    let (whole, last) = elements.as_chunks::<SETS>();
    for elements in whole {
        for (set, element) in elements.iter().enumerate() {
            let bytes = rotate(*element);
            for plane in 0..W {
                counts[plane][set][usize::from(bytes[plane])] += 1;
            }
        }
    }
    for element in last {
        let bytes = rotate(*element);
        for plane in 0..W {
            counts[plane][0][usize::from(bytes[plane])] += 1;
        }
    }
}

fn sum([mut total, others @ ..]: [PlaneCounts; SETS]) -> PlaneCounts {
    for set in others {
        total.iter_mut().zip(set).for_each(|(sum, count)| *sum += count);
    }
    total
}

/// Counts bytes, many at a time.
pub(crate) struct ByteCounter(Box<[PlaneCounts; SETS]>);

impl Default for ByteCounter {
    fn default() -> Self {
        Self(Box::new([[0; ALPHABET]; SETS]))
    }
}

impl ByteCounter {
    /// Adds the counts of `bytes`, of all of which together there are less than 2^32.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let (eights, last) = bytes.as_chunks::<8>();
        for eight in eights {
            for (at, byte) in u64::from_le_bytes(*eight).to_le_bytes().into_iter().enumerate() {
                self.0[at % SETS][usize::from(byte)] += 1;
            }
        }
        last.iter().for_each(|&byte| self.0[0][usize::from(byte)] += 1);
    }

    /// Adds the counts of some of each `stride` spans (a power of two): of those with these `numbers`,
    /// from 0 on, where number 0 is the one that [`estimate_planes`] counts.
    pub(crate) fn add_spans(&mut self, bytes: &[u8], stride: usize, numbers: Range<usize>) {
        // The others from all over: multiples of an odd number come to each place once.
        let apart = (stride / 2) | 1;
        let mut spans = bytes.chunks(SPAN * stride).enumerate().flat_map(|(number, spans)| {
            let first = place_of_span(number, stride);
            numbers.clone().map(move |number| {
                let place = (first + number * apart) & (stride - 1);
                spans.chunks(SPAN).nth(place).unwrap_or_default()
            })
        });
        // Spans lie apart, and a processor that counts is slow to see where it is going.
        let mut next = spans.next();
        while let Some(span) = next {
            next = spans.next();
            prefetch(next.unwrap_or_default());
            self.add(span);
        }
    }

    /// The counts of all that was added.
    pub(crate) fn counts(&self) -> PlaneCounts {
        sum(*self.0)
    }
}

/// Adds the counts of `bytes`.
pub(crate) fn count_bytes(counts: &mut [u64; ALPHABET], bytes: &[u8]) {
    if bytes.len() <= FEW_ELEMENTS {
        bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        return;
    }
    let mut counter = ByteCounter::default();
    counter.add(bytes);
    counts.iter_mut().zip(counter.counts()).for_each(|(sum, count)| *sum += u64::from(count));
}

/// The values that a sample has none of, as ranges.
pub(crate) struct Missed {
    /// First values, and how many follow each.
    ranges: Vec<(u8, u8)>,
}

impl Missed {
    /// The values that `counts` has none of.
    pub(crate) fn new(counts: &[u64; ALPHABET]) -> Self {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for value in (0..=u8::MAX).filter(|&value| counts[usize::from(value)] == 0) {
            match ranges.last_mut() {
                Some((first, more)) if *first + *more + 1 == value => *more += 1,
                _ => ranges.push((value, 0)),
            }
        }
        Self { ranges }
    }

    /// Counts all of `bytes` in `found` if any of them is missed.
    ///
    /// Looking for ranges takes a fraction of the time that counting does, and mostly finds nothing.
    pub(crate) fn note(&self, bytes: &[u8], found: &mut [u64; ALPHABET]) {
        /// Bytes that are looked at again for each range.
        const PART: usize = 4096;
        /// More ranges take longer than counting.
        const MOST_RANGES: usize = 24;
        if self.ranges.len() > MOST_RANGES {
            count_bytes(found, bytes);
            return;
        }
        for part in bytes.chunks(PART) {
            let any = level().run(
                #[inline(always)]
                || {
                    self.ranges.iter().fold(false, |any, &(first, more)| {
                        any | part
                            .iter()
                            .fold(false, |any, byte| any | (byte.wrapping_sub(first) <= more))
                    })
                },
            );
            if any {
                count_bytes(found, part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::block::{BlockSpec, PlaneCoding};
    use codec::split::split_planes;

    const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];

    fn exact(layout: ElementLayout, elements: &[u8]) -> Vec<[u64; ALPHABET]> {
        let layout = BlockSpec::layout_for(layout, PlaneCoding::Symbols);
        let mut planes = vec![0; elements.len()];
        split_planes(layout, elements, &mut planes);
        let count = elements.len() / layout.width.bytes();
        let mut all = vec![[0; ALPHABET]; layout.width.bytes()];
        for (plane, counts) in all.iter_mut().enumerate() {
            let values = &planes[plane * count..][..count];
            values.iter().for_each(|&value| counts[usize::from(value)] += 1);
        }
        all
    }

    #[test]
    fn estimates_stand_for_as_many_elements_as_there_are() {
        let bytes: Vec<u8> = (0..40 << 10).map(|place| (place * 7 % 251) as u8).collect();
        for elements in (0..20 << 10).step_by(511).chain([8192, 10240, 16384, 18432]) {
            for width in [Width::One, Width::Two] {
                let layout = ElementLayout { width, rotated: true };
                let planes = estimate_planes(layout, &bytes[..elements * width.bytes()], 8);
                for counts in planes {
                    assert_eq!(counts.iter().sum::<u32>() as usize, elements, "{width:?}");
                }
            }
        }
    }

    #[test]
    fn small_blocks_are_counted_exactly() {
        for width in WIDTHS {
            for rotated in [false, true] {
                for count in [0, 1, 2, 999] {
                    let layout = ElementLayout { width, rotated };
                    let elements: Vec<u8> =
                        (0..count * width.bytes()).map(|i| (i * i % 251) as u8).collect();
                    let found: Vec<_> = estimate_planes(layout, &elements, 16)
                        .iter()
                        .map(|counts| counts.map(u64::from))
                        .collect();
                    assert!(found == exact(layout, &elements), "{layout:?}, {count} elements");
                }
            }
        }
    }

    #[test]
    fn large_blocks_are_estimated_within_a_few_percent() {
        let layout = ElementLayout { width: Width::Two, rotated: true };
        let elements: Vec<u8> =
            (0..2 * 65_536u32).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 29) as u8).collect();
        for (estimate, exact) in
            estimate_planes(layout, &elements, 16).iter().zip(exact(layout, &elements))
        {
            let total: u64 = estimate.iter().map(|&count| u64::from(count)).sum();
            assert_eq!(total, 65_536);
            for (&estimate, exact) in estimate.iter().zip(exact) {
                assert!(f64::from(estimate).max(64.0) / (exact as f64).max(64.0) < 1.25);
                assert!((exact as f64).max(64.0) / f64::from(estimate).max(64.0) < 1.25);
            }
        }
    }

    #[test]
    fn a_single_other_value_is_never_missed() {
        let layout = ElementLayout { width: Width::One, rotated: false };
        for at in [0, 300, 40_000, 65_535] {
            let mut elements = vec![7; 65_536];
            elements[at] = 9;
            let counts = &estimate_planes(layout, &elements, 16)[0];
            assert!(counts[7] > 60_000 && counts[9] > 0, "at {at}");
        }
    }

    #[test]
    fn values_that_a_sample_misses_are_found() {
        for (others, expected) in [(&[][..], 0), (&[3][..], 1), (&[3, 200, 255][..], 3)] {
            let mut bytes = vec![7; 70_000];
            for (&value, at) in others.iter().zip([0, 4096, 69_999]) {
                bytes[at] = value;
            }
            let mut sampled = [0; ALPHABET];
            sampled[7] = 1;
            let mut found = [0; ALPHABET];
            Missed::new(&sampled).note(&bytes, &mut found);
            found[7] = 0;
            assert_eq!(found.iter().sum::<u64>(), expected);
            assert!(others.iter().all(|&value| found[usize::from(value)] == 1));
        }
        // No gaps that are ranges of few values, and nothing but gaps.
        let mut bytes: Vec<u8> = (0..=255).collect();
        let every_other = std::array::from_fn(|value| value as u64 % 2);
        for (sampled, least) in [(every_other, 128), ([0; ALPHABET], 256), ([1; ALPHABET], 0)] {
            bytes.rotate_left(100);
            let mut found = [0; ALPHABET];
            Missed::new(&sampled).note(&bytes, &mut found);
            let missed =
                found.iter().zip(sampled).filter(|(found, sampled)| **found == 1 && *sampled == 0);
            assert_eq!(missed.count(), least);
        }
    }

    #[test]
    fn spans_are_each_counted_once() {
        let bytes: Vec<u8> = (0..100_000u64).map(|i| (i * i % 251) as u8).collect();
        let layout = ElementLayout { width: Width::One, rotated: false };
        for stride in [1, 2, 4, 8, 16] {
            // Whole strides of spans, which are estimated, and more, which are counted.
            for bytes in [&bytes[..6 * 16 * SPAN], &bytes] {
                let all = exact(layout, bytes)[0];
                let mut counter = ByteCounter::default();
                counter.add_spans(bytes, stride, 0..1);
                let estimate = if is_exact(bytes.len(), stride) {
                    all.map(|count| count as u32)
                } else {
                    counter.counts().map(|count| count * stride as u32)
                };
                assert_eq!(estimate_planes(layout, bytes, stride)[0], estimate);
                counter.add_spans(bytes, stride, 1..stride);
                assert_eq!(counter.counts().map(u64::from), all);
            }
        }
    }

    #[test]
    fn spans_are_from_all_over() {
        let bytes: Vec<u8> = (0..1 << 16).map(|place| (place / 4096) as u8).collect();
        let mut counter = ByteCounter::default();
        counter.add_spans(&bytes, 4, 0..1);
        assert!(counter.counts()[..16].iter().all(|&count| count == 1024));
    }

    #[test]
    fn bytes_are_counted_at_every_length() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * i % 251) as u8).collect();
        for length in [0, 1, 9, FEW_ELEMENTS, FEW_ELEMENTS + 1, 1000] {
            let mut counts = [0; ALPHABET];
            count_bytes(&mut counts, &bytes[..length]);
            let layout = ElementLayout { width: Width::One, rotated: false };
            assert_eq!(counts, exact(layout, &bytes[..length])[0]);
        }
    }
}
