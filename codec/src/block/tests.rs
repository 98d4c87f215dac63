//! Round trips of blocks of every plan, and what a reader says of broken ones.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::constants::{ALPHABET, RANKS};
use crate::pair::ranks_of;
use crate::rans::{Frequencies, StreamError, normalize};
use crate::simd::{BlockInput, Level, PieceBuffers, PieceBytes};
use crate::split::{Width, split_planes};

/// Tables that fit `spec` and `elements`: frequencies of what occurs, ranks by frequency.
struct Tables {
    decode: Vec<Option<DecodeTables>>,
    encode: Vec<Option<PlaneEncodeTables>>,
}

fn counts(bytes: impl Iterator<Item = u8>) -> [u64; ALPHABET] {
    let mut counts = [0; ALPHABET];
    bytes.for_each(|b| counts[usize::from(b)] += 1);
    counts
}

fn ranks_by_count(values: &[u8]) -> [u8; RANKS] {
    let counts = counts(values.iter().copied());
    let mut order: Vec<u8> = (0..=255).collect();
    order.sort_by_key(|&v| std::cmp::Reverse(counts[usize::from(v)]));
    core::array::from_fn(|rank| order[rank])
}

/// A table of all symbols, so that pairs of ranked values never need an escape, except where
/// `drop_symbol` takes one's slot away.
fn frequencies(used: [u64; ALPHABET], drop_symbol: Option<u8>) -> Frequencies {
    let mut used = used.map(|count| count.max(1));
    if let Some(symbol) = drop_symbol {
        used[usize::from(symbol)] = 0;
    }
    normalize(&used).unwrap()
}

fn tables(spec: &BlockSpec, elements: &[u8]) -> Tables {
    let mut planes = vec![0; elements.len()];
    split_planes(spec.layout, elements, &mut planes);
    let make = |plane: usize| {
        let coding = spec.planes[plane];
        coding.elements_per_symbol()?;
        let values = &planes[plane * spec.elements..][..spec.elements];
        let ranks = ranks_by_count(values);
        let drop = (coding == PlaneCoding::Pairs).then_some(0x21);
        let frequencies = frequencies(counts(values.iter().copied()), drop);
        let slots = *frequencies.as_array();
        Some((
            DecodeTables::new(&frequencies, ranks),
            PlaneEncodeTables {
                table: EncodeTable::new(&frequencies),
                has_slot: slots.map(|f| f > 0),
                ranks: ranks_of(&ranks),
            },
        ))
    };
    let (decode, encode) = (0..MAX_WIDTH)
        .map(|plane| if plane < spec.planes().len() { make(plane) } else { None })
        .map(|both| both.map_or((None, None), |(d, e)| (Some(d), Some(e))))
        .unzip();
    Tables { decode, encode }
}

fn encode(spec: &BlockSpec, tables: &Tables, elements: &[u8]) -> Vec<u8> {
    let refs = core::array::from_fn(|plane| tables.encode[plane].as_ref());
    let mut scratch = vec![0xAA; encode_scratch_bytes(spec)];
    let mut words = vec![0xAAAA; encode_scratch_words(spec)];
    let mut out = vec![0xAA; max_block_bytes(spec)];
    let length = encode_block(spec, &refs, elements, &mut scratch, &mut words, &mut out);
    out.truncate(length);
    for level in Level::variants() {
        // Not what the level before has left, which might be right.
        scratch.fill(0x33);
        words.fill(0x3333);
        let mut other = vec![0x55; max_block_bytes(spec)];
        let length = level.encode_block(
            spec,
            &refs,
            &PlaneClasses::default(),
            elements,
            &mut scratch,
            &mut words,
            &mut other,
        );
        assert!(other[..length] == out, "{} encodes {spec:?} to other bytes", level.name());
    }
    out
}

fn decode(spec: &BlockSpec, tables: &Tables, block: &[u8]) -> Result<Vec<u8>, BlockError> {
    let refs = core::array::from_fn(|plane| tables.decode[plane].as_ref());
    let mut scratch = vec![0x55; decode_scratch_bytes(spec)];
    let mut out = vec![0x55; spec.decoded_bytes()];
    let decoded =
        decode_block(spec, &refs, &PlaneClasses::default(), block, &mut scratch, &mut out)
            .map(|()| out);
    let mut buffers = [PieceBuffers::default(), PieceBuffers::default()];
    let input = BlockInput { tables: refs, bytes: block };
    for level in Level::variants() {
        let [mut one, mut two, mut three] = [(); 3].map(|()| vec![0x55; spec.decoded_bytes()]);
        let [first, _] = &mut buffers;
        let right = [
            level.decode_blocks(spec, [input], core::array::from_mut(first), [&mut one]),
            level.decode_blocks(spec, [input; 2], &mut buffers, [&mut two, &mut three]),
        ];
        let name = level.name();
        assert_eq!(right, [decoded.is_ok(); 2], "{name} differs from {:?}", decoded.as_ref().err());
        if let Ok(decoded) = &decoded {
            assert!([one, two, three].iter().all(|out| out == decoded), "{name}: other bytes");
        }
        let past_cache = decode_past_cache(level, spec, input);
        assert_eq!(
            past_cache.as_ref(),
            decoded.as_ref().ok(),
            "{name}: other bytes past the cache"
        );
    }
    decoded
}

/// Decodes a block twice side by side past the cache, wherever an output begins within a line.
fn decode_past_cache(level: Level, spec: &BlockSpec, input: BlockInput<'_>) -> Option<Vec<u8>> {
    let mut buffers = [PieceBuffers::default(), PieceBuffers::default()];
    let mut made = [PieceBytes::default(), PieceBytes::default()];
    let size = spec.decoded_bytes();
    let mut decoded = None;
    for place in [0, spec.layout.width.bytes(), 37] {
        const AROUND: usize = 64;
        let mut memory = vec![0x55; 2 * (size + 2 * AROUND) + place];
        let (first, second) = memory[place..].split_at_mut(size + 2 * AROUND);
        let outs = [first, second].map(|part| &mut part[AROUND..][..size]);
        let mut shown = [Vec::new(), Vec::new()];
        let right = level.decode_blocks_past_cache(
            spec,
            [input; 2],
            (&mut buffers, &mut made),
            outs,
            |block, bytes| shown[block].extend_from_slice(bytes),
        );
        let (first, second) = memory[place..].split_at(size + 2 * AROUND);
        for part in [first, second] {
            let around = part[..AROUND].iter().chain(&part[AROUND + size..][..AROUND]);
            assert!(around.into_iter().all(|&byte| byte == 0x55), "{}: {spec:?}", level.name());
        }
        let outs = [first, second].map(|part| &part[AROUND..][..size]);
        if right {
            assert!(outs[0] == shown[0] && outs[1] == shown[1], "{}: {spec:?}", level.name());
            assert_eq!(outs[0], outs[1], "{}: {spec:?}", level.name());
        }
        let now = right.then(|| outs[0].to_vec());
        assert!(place == 0 || now == decoded, "{}: {spec:?}, {place}", level.name());
        decoded = now;
    }
    decoded
}

/// Elements whose top byte varies over some 40 values around 120, most of them few.
fn weights(width: usize, count: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut elements = Vec::with_capacity(width * count);
    for _ in 0..count {
        let bits = random();
        let exponent = 120 - (bits.trailing_zeros() as u64).min(40);
        let value = bits >> 8 << 8 >> 9 & !(0xFF << 55) | exponent << 55;
        elements.extend_from_slice(&value.to_le_bytes()[8 - width..]);
    }
    elements
}

fn specs(elements: usize) -> Vec<BlockSpec> {
    use PlaneCoding::*;
    let plans: [(Width, &[PlaneCoding]); 9] = [
        (Width::One, &[Raw]),
        (Width::One, &[Symbols]),
        (Width::One, &[NibblePairs]),
        (Width::One, &[Pairs]),
        (Width::Two, &[Raw, Pairs]),
        (Width::Two, &[Symbols, Symbols]),
        (Width::Four, &[Raw, Raw, Raw, Pairs]),
        (Width::Four, &[Symbols, Raw, Symbols, Pairs]),
        (Width::Eight, &[Raw, Raw, Raw, Raw, Raw, Raw, Symbols, Symbols]),
    ];
    let mut specs = Vec::new();
    for (width, plan) in plans {
        for (rotated, states_per_lane) in [(false, 1), (true, 1), (true, 2)] {
            let mut planes = [Raw; MAX_WIDTH];
            planes[..plan.len()].copy_from_slice(plan);
            let layout = BlockSpec::layout_for(ElementLayout { width, rotated }, plan[0]);
            specs.push(BlockSpec { layout, elements, states_per_lane, planes });
        }
    }
    specs
}

#[test]
fn every_plan_comes_back_at_boundary_lengths() {
    for elements in [
        0, 1, 2, 63, 64, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1021, 2049, 2303, 2304, 2305,
        4095, 4096, 4097, 4352, 4353, 6145, 8193,
    ] {
        for spec in specs(elements) {
            let data = weights(spec.layout.width.bytes(), elements);
            let tables = tables(&spec, &data);
            let block = encode(&spec, &tables, &data);
            assert_eq!(block.len() % BLOCK_ALIGNMENT_BYTES, 0);
            assert!(decode(&spec, &tables, &block).unwrap() == data, "{spec:?}");
        }
    }
}

#[test]
fn bytes_and_nibbles_come_back_at_every_length() {
    let bytes = |spec: &BlockSpec| spec.layout.width == Width::One;
    // Around the groups, around what the states carry, and around the pieces of a block.
    for elements in (0..1100).chain(2000..2700).chain(4000..4700) {
        for spec in specs(elements).into_iter().filter(bytes) {
            let data = weights(1, elements);
            let tables = tables(&spec, &data);
            let block = encode(&spec, &tables, &data);
            assert!(decode(&spec, &tables, &block).unwrap() == data, "{spec:?}");
        }
    }
}

#[test]
fn blocks_that_are_decoded_together_keep_apart() {
    for elements in [513, 2048, 5000] {
        for spec in specs(elements) {
            let width = spec.layout.width.bytes();
            let even = weights(width, elements);
            // Other bytes, most of them the same, so that the tables have frequencies beyond a byte.
            let mut uneven: Vec<u8> = even.iter().rev().copied().collect();
            let most = uneven.len() - uneven.len() / 8 / width * width;
            uneven[..most].fill(0x5A);
            let blocks = [even, uneven].map(|data| {
                let tables = tables(&spec, &data);
                let block = encode(&spec, &tables, &data);
                (data, tables, block)
            });
            let inputs = blocks.each_ref().map(|(_, tables, block)| BlockInput {
                tables: core::array::from_fn(|plane| tables.decode[plane].as_ref()),
                bytes: block,
            });
            for level in Level::variants() {
                for order in [[0, 1], [1, 0]] {
                    let mut outs = [(); 2].map(|()| vec![0x55; spec.decoded_bytes()]);
                    let mut buffers = [PieceBuffers::default(), PieceBuffers::default()];
                    let inputs = order.map(|at| inputs[at]);
                    let parts = outs.each_mut().map(|out| &mut out[..]);
                    assert!(level.decode_blocks(&spec, inputs, &mut buffers, parts));
                    for (at, out) in order.into_iter().zip(outs) {
                        assert!(out == blocks[at].0, "{} {spec:?}", level.name());
                    }
                }
            }
        }
    }
}

const BLOCK_ALIGNMENT_BYTES: usize = crate::constants::BLOCK_ALIGNMENT;

#[test]
fn bytes_are_rotated_only_for_their_nibbles() {
    for spec in specs(10).into_iter().filter(|spec| spec.layout.width == Width::One) {
        let rotated = ElementLayout { rotated: true, ..spec.layout };
        let is_nibbles = spec.planes[0] == PlaneCoding::NibblePairs;
        assert_eq!(BlockSpec { layout: rotated, ..spec }.is_valid(), is_nibbles, "{spec:?}");
        assert!(BlockSpec { layout: ElementLayout::BYTES, ..spec }.is_valid(), "{spec:?}");
    }
}

#[test]
fn constant_planes_take_no_room() {
    let elements = [0x3F80u16; 1000].map(u16::to_le_bytes).as_flattened().to_vec();
    let layout = ElementLayout { width: Width::Two, rotated: true };
    let mut planes = [PlaneCoding::Raw; MAX_WIDTH];
    planes[..2].copy_from_slice(&[PlaneCoding::Constant(0), PlaneCoding::Constant(0x7F)]);
    let spec = BlockSpec { layout, elements: 1000, states_per_lane: 1, planes };
    let tables = tables(&spec, &elements);
    let block = encode(&spec, &tables, &elements);
    assert_eq!(block.len(), 0);
    assert!(decode(&spec, &tables, &block).unwrap() == elements);
}

#[test]
fn every_truncation_and_extension_is_an_error() {
    for spec in specs(300) {
        let data = weights(spec.layout.width.bytes(), 300);
        let tables = tables(&spec, &data);
        let block = encode(&spec, &tables, &data);
        for length in 0..block.len() {
            assert!(decode(&spec, &tables, &block[..length]).is_err(), "{spec:?} {length}");
        }
        let longer = [&block[..], &[0; 16]].concat();
        assert!(decode(&spec, &tables, &longer).is_err(), "{spec:?}");
    }
}

#[test]
fn a_flipped_bit_gives_an_error_or_other_values_and_never_panics() {
    for spec in specs(200) {
        let data = weights(spec.layout.width.bytes(), 200);
        let tables = tables(&spec, &data);
        let block = encode(&spec, &tables, &data);
        for bit in 0..8 * block.len() {
            let mut broken = block.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let decoded = decode(&spec, &tables, &broken);
            assert!(decoded.is_err() || decoded.unwrap() != data, "{spec:?}, bit {bit}");
        }
    }
}

#[test]
fn a_block_that_ends_in_the_wrong_state_is_named() {
    let spec = specs(3000)
        .into_iter()
        .find(|spec| spec.planes()[0] == PlaneCoding::Symbols && spec.planes().len() == 1)
        .unwrap();
    let data = weights(1, 3000);
    let tables = tables(&spec, &data);
    let mut block = encode(&spec, &tables, &data);
    let first_word = 4 * 32;
    block[first_word] ^= 1;
    assert!(matches!(
        decode(&spec, &tables, &block),
        Err(BlockError::Stream {
            plane: 0,
            error: StreamError::FinalState { .. }
                | StreamError::WordsExhausted { .. }
                | StreamError::WordsLeftOver { .. }
        })
    ));
}

#[test]
fn specs_outside_the_format_are_refused() {
    let good = specs(10)[0];
    let mut pairs_below_the_top = specs(10)[12];
    pairs_below_the_top.planes[0] = PlaneCoding::Pairs;
    let too_long = BlockSpec { elements: crate::constants::MAX_BLOCK_ELEMENTS + 1, ..good };
    for spec in [
        BlockSpec { states_per_lane: 0, ..good },
        BlockSpec { states_per_lane: 3, ..good },
        too_long,
        pairs_below_the_top,
    ] {
        assert_eq!(BlockLayout::read(&spec, &[]), Err(BlockError::Spec));
    }
}
