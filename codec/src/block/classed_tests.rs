//! Round trips of blocks that are coded by class, and what a reader says of broken ones.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::classes::ClassMap;
use crate::constants::{ALPHABET, ESCAPED_HEAD};
use crate::rans::{Frequencies, normalize};
use crate::simd::{BlockInput, Level, PieceBuffers};

/// Three classes of tables, none of which lacks a symbol, and where they are.
struct Classes {
    decode: Vec<DecodeTable>,
    encode: Vec<EncodeTable>,
    choice: Vec<u8>,
}

impl Classes {
    fn new(elements: usize) -> Self {
        let tables: Vec<Frequencies> = [1u64, 40, 200]
            .map(|center| {
                let count = |symbol: u64| 1 + 4000 / (1 + symbol.abs_diff(center).pow(2));
                normalize(&core::array::from_fn::<_, ALPHABET, _>(|s| count(s as u64))).unwrap()
            })
            .into();
        let map = ClassMap {
            columns: 37,
            row_classes: &[0, 1, 2, 1],
            column_classes: &[0, 1, 1, 0],
            column_class_count: 2,
            choice: &[0, 1, 1, 2, 2, 0],
        };
        let mut choice = vec![0; elements];
        map.fill(1000, &mut choice);
        Self {
            decode: tables.iter().map(DecodeTable::new).collect(),
            encode: tables.iter().map(EncodeTable::new).collect(),
            choice,
        }
    }
}

/// A plane's tables of one kind, in a block where every classed plane takes the same.
fn of_planes<'a, T>(spec: &BlockSpec, tables: &'a [T], choice: &'a [u8]) -> PlaneClasses<'a, T> {
    core::array::from_fn(|plane| match spec.planes().get(plane) {
        Some(PlaneCoding::Classes | PlaneCoding::Heads { .. }) => {
            Some(MixedTables { tables, choice })
        }
        _ => None,
    })
}

fn encode(spec: &BlockSpec, classes: &Classes, elements: &[u8]) -> Vec<u8> {
    let by_plane = of_planes(spec, &classes.encode, &classes.choice);
    let mut scratch = vec![0xAA; encode_scratch_bytes(spec)];
    let mut words = vec![0xAAAA; encode_scratch_words(spec)];
    let mut out = vec![0xAA; max_block_bytes(spec)];
    let none = [None; MAX_WIDTH];
    let length =
        encode_classed_block(spec, &none, &by_plane, elements, &mut scratch, &mut words, &mut out);
    out.truncate(length);
    for level in Level::variants() {
        let mut other = vec![0x55; max_block_bytes(spec)];
        let (scratch, words) = (&mut scratch, &mut words);
        let length =
            level.encode_block(spec, &none, &by_plane, elements, scratch, words, &mut other);
        assert!(other[..length] == out[..], "{spec:?}, {}", level.name());
    }
    out
}

fn decode(spec: &BlockSpec, classes: &Classes, block: &[u8]) -> Result<Vec<u8>, BlockError> {
    let by_plane = of_planes(spec, &classes.decode, &classes.choice);
    let mut scratch = vec![0x55; decode_scratch_bytes(spec)];
    let mut out = vec![0x55; spec.decoded_bytes()];
    let none = [None; MAX_WIDTH];
    let result = decode_block(spec, &none, &by_plane, block, &mut scratch, &mut out);
    for level in Level::variants() {
        let mut other = vec![0xAA; spec.decoded_bytes()];
        let (scratch, other) = (&mut scratch, &mut other[..]);
        assert_eq!(
            level.decode_classed_block(spec, &none, &by_plane, block, scratch, other),
            result
        );
        assert!(result.is_err() || other == out, "{spec:?}, {}", level.name());
    }
    result.map(|()| out)
}

fn specs(elements: usize) -> Vec<BlockSpec> {
    use PlaneCoding::*;
    let plans: [(Width, &[PlaneCoding]); 6] = [
        (Width::One, &[Classes]),
        (Width::Two, &[Raw, Classes]),
        (Width::Two, &[Classes, Classes]),
        (Width::Two, &[InHeads, Heads { base: 110 }]),
        (Width::Four, &[Raw, Raw, InHeads, Heads { base: 110 }]),
        (Width::Four, &[Constant(0), Classes, InHeads, Heads { base: 0 }]),
    ];
    let mut specs = Vec::new();
    for (width, plan) in plans {
        for states_per_lane in [1, 2] {
            let mut planes = [Raw; MAX_WIDTH];
            planes[..plan.len()].copy_from_slice(plan);
            let layout = BlockSpec::layout_for(ElementLayout { width, rotated: true }, plan[0]);
            specs.push(BlockSpec { layout, elements, states_per_lane, planes });
        }
    }
    specs
}

/// Floating-point numbers of `width` bytes, most of them within the window of heads from 110 on.
fn weights(spec: &BlockSpec) -> Vec<u8> {
    let width = spec.layout.width.bytes();
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut elements = Vec::new();
    for _ in 0..spec.elements {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        let exponent = 124 - u64::from((state >> 20).trailing_zeros().min(60));
        let mut bits = state >> 32 & 0x807F_FFFF | exponent << 23;
        if spec.planes[0] == PlaneCoding::Constant(0) {
            bits &= !0xFF;
        }
        elements.extend_from_slice(&(bits as u32).to_le_bytes()[4 - width..]);
    }
    elements
}

#[test]
fn classed_blocks_come_back_at_boundary_lengths() {
    for elements in [0, 1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 513, 2049, 6145] {
        let classes = Classes::new(elements);
        for spec in specs(elements) {
            let data = weights(&spec);
            let block = encode(&spec, &classes, &data);
            assert_eq!(block.len() % crate::constants::BLOCK_ALIGNMENT, 0);
            assert!(decode(&spec, &classes, &block).unwrap() == data, "{spec:?}");
        }
    }
}

#[test]
fn heads_outside_the_window_are_escaped_and_come_back() {
    let spec = specs(5000).into_iter().find(|spec| spec.has_heads()).unwrap();
    let classes = Classes::new(5000);
    // All exponents, so that all but 15 of 256 are escaped.
    let data: Vec<u8> = (0..5000u16).flat_map(|i| (i.wrapping_mul(13)).to_le_bytes()).collect();
    let block = encode(&spec, &classes, &data);
    assert!(decode(&spec, &classes, &block).unwrap() == data);
    assert!(crate::rans::is_escaped_head(ESCAPED_HEAD));
}

#[test]
fn truncated_classed_blocks_are_errors() {
    let classes = Classes::new(300);
    for spec in specs(300) {
        let block = encode(&spec, &classes, &weights(&spec));
        for length in 0..block.len() {
            assert!(decode(&spec, &classes, &block[..length]).is_err(), "{spec:?} {length}");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_classed_block_gives_an_error_or_other_values() {
    let classes = Classes::new(150);
    for spec in specs(150) {
        let data = weights(&spec);
        let block = encode(&spec, &classes, &data);
        for bit in 0..8 * block.len() {
            let mut broken = block.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let decoded = decode(&spec, &classes, &broken);
            assert!(decoded.is_err() || decoded.unwrap() != data, "{spec:?}, bit {bit}");
        }
    }
}

#[test]
fn vector_levels_leave_classed_blocks_to_the_reference() {
    let spec = specs(100)[0];
    let block = encode(&spec, &Classes::new(100), &weights(&spec));
    for level in Level::variants() {
        let input = BlockInput { tables: [None; MAX_WIDTH], bytes: &block };
        let mut out = vec![0; spec.decoded_bytes()];
        assert!(!level.decode_blocks(&spec, [input], &mut [PieceBuffers::default()], [&mut out]));
    }
}

#[test]
fn heads_only_fit_floating_point_elements_of_two_or_four_bytes() {
    let good = specs(10).into_iter().find(|spec| spec.has_heads()).unwrap();
    assert!(good.is_valid());
    let plain = BlockSpec { layout: ElementLayout { rotated: false, ..good.layout }, ..good };
    let mut without_room = good;
    without_room.planes[0] = PlaneCoding::Raw;
    let mut alone = good;
    alone.planes[1] = PlaneCoding::Raw;
    let mut narrow = good;
    narrow.layout.width = Width::One;
    narrow.planes[0] = PlaneCoding::Heads { base: 0 };
    for spec in [plain, without_room, alone, narrow] {
        assert!(!spec.is_valid(), "{spec:?}");
    }
}
