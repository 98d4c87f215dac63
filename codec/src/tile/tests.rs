//! Every mode comes back, for all formats, sizes and contents.

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn formats() -> Vec<NumberFormat> {
    let floats = [(Width::One, 2), (Width::One, 3), (Width::Two, 7), (Width::Two, 10)];
    let floats = floats.into_iter().chain([(Width::Four, 23)]);
    let floats = floats.map(|(width, mantissa_bits)| (width, NumberKind::Float { mantissa_bits }));
    let integers = [Width::One, Width::Two, Width::Four]
        .into_iter()
        .flat_map(|width| [(width, NumberKind::Signed), (width, NumberKind::Unsigned)]);
    floats
        .chain(integers)
        .map(|(width, kind)| NumberFormat::new(width, kind).expect("narrow enough"))
        .collect()
}

fn contents(bytes: usize) -> [Vec<u8>; 4] {
    let mut state = 12_345_u32;
    let random = (0..bytes).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let random = random.collect();
    let smooth = (0..bytes).map(|at| (at * 3 % 251) as u8).collect();
    let extremes = (0..bytes).map(|at| if at % 5 < 2 { 0x80 } else { 0x7F }).collect();
    [random, smooth, extremes, vec![0xFF; bytes]]
}

/// Modes for all sub-blocks that may have them, beginning with `first`.
fn modes(grid: BlockGrid, coded_width: Width, format: NumberFormat, first: usize) -> Vec<u8> {
    let mut modes = Vec::new();
    for tile in (0..grid.tiles()).map(|number| grid.tile(number)) {
        for sub_block in (0..tile.sub_blocks()).map(|number| tile.sub_block(number)) {
            let mode = Mode::ALL[(first + 7 * modes.len()) % Mode::ALL.len()];
            let transformable = sub_block.is_whole() && coded_width != format.width();
            let allowed = mode.transforms().is_none() || transformable;
            modes.push(if allowed { mode } else { Mode::Planar } as u8);
        }
    }
    modes
}

fn check(grid: BlockGrid, format: NumberFormat, coded_width: Width, modes: &[u8], data: &[u8]) {
    let block = TiledBlock::new(grid, format, coded_width, modes).expect("modes fit");
    let mut coded = vec![0xAA; grid.elements as usize * coded_width.bytes()];
    block.forward(data, &mut coded);
    let mut back = vec![0xBB; data.len()];
    block.reconstruct(&coded, &mut back);
    assert!(back == data, "{grid:?} {format:?} coded {coded_width:?} with {modes:?}");
}

fn coded_widths(format: NumberFormat) -> Vec<Width> {
    let mut widths = vec![format.width()];
    if format.width() == Width::One {
        widths.push(Width::Two);
    }
    widths
}

#[test]
fn every_mode_of_every_format_comes_back() {
    let grid = BlockGrid { elements: 2 * 16 * 24 + 5, columns: 24 };
    for format in formats() {
        for coded_width in coded_widths(format) {
            for first in 0..Mode::ALL.len() {
                let modes = modes(grid, coded_width, format, first);
                for data in contents(grid.elements as usize * format.width().bytes()) {
                    check(grid, format, coded_width, &modes, &data);
                }
            }
        }
    }
}

#[test]
fn every_size_of_tile_comes_back() {
    for format in formats().into_iter().step_by(2) {
        for columns in 1..=17 {
            for rows in 1..=17 {
                for rest in [0, columns - 1] {
                    let grid = BlockGrid { elements: rows * columns + rest, columns };
                    let coded_width = *coded_widths(format).last().expect("one at least");
                    let modes = modes(grid, coded_width, format, (rows + columns) as usize);
                    let [data, ..] = contents(grid.elements as usize * format.width().bytes());
                    check(grid, format, coded_width, &modes, &data);
                }
            }
        }
    }
}

/// The inverse of a transform is exact and its coefficients fit for the inputs that reach farthest:
/// each basis function with full swing, and its negative.
#[test]
fn transforms_of_extreme_tiles_come_back() {
    let format = NumberFormat::new(Width::One, NumberKind::Signed).expect("narrow enough");
    let grid = BlockGrid { elements: 64, columns: 8 };
    for mode in Mode::ALL.into_iter().filter(|mode| mode.transforms().is_some()) {
        let transforms = mode.transforms().expect("a transform");
        for unit in 0..64 {
            let mut numbers = [0; 64];
            numbers[unit] = 1 << 12;
            for line in 0..8 {
                transforms.0.inverse(&mut Line { numbers: &mut numbers, first: line, stride: 8 });
            }
            for line in 0..8 {
                transforms.1.inverse(&mut Line {
                    numbers: &mut numbers,
                    first: 8 * line,
                    stride: 1,
                });
            }
            for flip in [0x00, 0xFF] {
                let data = numbers.map(|x| if x < 0 { 0x80_u8 } else { 0x7F } ^ flip);
                check(grid, format, Width::Two, &[mode as u8], &data);
            }
        }
    }
}

#[test]
fn coefficients_of_bytes_fit_into_16_bits() {
    let format = NumberFormat::new(Width::One, NumberKind::Signed).expect("narrow enough");
    let tile = BlockGrid { elements: 64, columns: 8 }.tile(0);
    let mut coded = [0; SUB_BLOCK_ELEMENTS];
    forward_sub_block(format, &[-128; TILE_ELEMENTS], tile.sub_block(0), Mode::Cosine, &mut coded);
    // The mean of full-range bytes times eight, and nothing else.
    let dc = unfold_coefficient(coded[0]);
    assert!((dc.abs() - 1024).abs() <= 2, "{dc}");
    assert!(coded[1..].iter().all(|&folded| folded <= 4), "{coded:?}");
}

#[test]
fn smooth_elements_have_small_residuals() {
    let format = NumberFormat::new(Width::Two, NumberKind::Float { mantissa_bits: 10 });
    let format = format.expect("narrow enough");
    let grid = BlockGrid { elements: 256, columns: 16 };
    // Multiples of 1/64 from -2 on, which FP16 holds exactly.
    let bits = |index: u32| {
        let value = -2.0 + (3 * (index / 16) + 2 * (index % 16)) as f32 / 64.0;
        ((value.to_bits() >> 31) << 15 | (value.abs() * 2f32.powi(-112)).to_bits() >> 13) as u16
    };
    let data: Vec<u8> = (0..256).flat_map(|index| bits(index).to_le_bytes()).collect();
    let block = TiledBlock::new(grid, format, Width::Two, &[Mode::Planar as u8; 4]);
    let mut coded = vec![0; 512];
    block.expect("modes fit").forward(&data, &mut coded);
    // But for the first row and column, a plane is predicted exactly.
    let exact = coded.as_chunks().0.iter().filter(|&&bytes| u16::from_le_bytes(bytes) == 0);
    assert!(exact.count() >= 15 * 15);
}

#[test]
fn choices_follow_the_coded_elements() {
    let byte = NumberFormat::new(Width::One, NumberKind::Signed).expect("narrow enough");
    let grid = BlockGrid { elements: 90, columns: 9 };
    let modes = [Mode::Cosine, Mode::Left, Mode::Top, Mode::None].map(|mode| mode as u8);
    let block = TiledBlock::new(grid, byte, Width::Two, &modes).expect("modes fit");
    let mut choice = [0; TILE_CLASSES];
    choice[Mode::Left as usize] = 1;
    choice[Mode::Top as usize] = 2;
    choice[22..86].iter_mut().zip(100..).for_each(|(choice, number)| *choice = number);
    let mut found = [0xFF; 90];
    block.fill_choice(&choice, &mut found);
    let expected = (100..164).chain([1; 8]).chain([2; 16]).chain([0; 2]);
    assert!(found.into_iter().eq(expected), "{found:?}");
}

#[test]
fn modes_that_do_not_fit_are_refused() {
    let byte = NumberFormat::new(Width::One, NumberKind::Signed).expect("narrow enough");
    let grid = BlockGrid { elements: 100, columns: 10 };
    let new = |coded_width, modes: &[u8]| TiledBlock::new(grid, byte, coded_width, modes).err();
    assert_eq!(new(Width::Two, &[22, 1, 1, 1]), None);
    assert_eq!(new(Width::Two, &[1, 22, 1, 1]), Some(TileError::Transform { sub_block: 1 }));
    assert_eq!(new(Width::One, &[22, 1, 1, 1]), Some(TileError::Transform { sub_block: 0 }));
    let unknown = TileError::Unknown { sub_block: 2, mode: 200 };
    assert_eq!(new(Width::One, &[1, 1, 200, 1]), Some(unknown));
    assert_eq!(new(Width::Four, &[1, 1, 1, 1]), Some(TileError::CodedWidth));
    assert_eq!(new(Width::One, &[1]), Some(TileError::Count { modes: 1, sub_blocks: 4 }));
    let no_columns = BlockGrid { elements: 100, columns: 0 };
    assert_eq!(TiledBlock::new(no_columns, byte, Width::One, &[]).err(), Some(TileError::Columns));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn anything_comes_back(
        elements in 1..900_u32,
        columns in 1..70_u32,
        number in 0..11_usize,
        first in 0..26_usize,
        seed in prop::collection::vec(any::<u8>(), 4 * 900),
    ) {
        let format = formats()[number];
        let grid = BlockGrid { elements, columns };
        for coded_width in coded_widths(format) {
            let modes = modes(grid, coded_width, format, first);
            let data = &seed[..elements as usize * format.width().bytes()];
            check(grid, format, coded_width, &modes, data);
        }
    }

    #[test]
    fn any_residuals_are_those_of_some_elements(
        columns in 1..40_u32,
        number in 0..11_usize,
        first in 0..26_usize,
        coded in prop::collection::vec(any::<u8>(), 4 * 300),
    ) {
        let format = formats()[number];
        let grid = BlockGrid { elements: 300, columns };
        for coded_width in coded_widths(format) {
            let modes = modes(grid, coded_width, format, first);
            let block = TiledBlock::new(grid, format, coded_width, &modes).expect("modes fit");
            let coded = &coded[..300 * coded_width.bytes()];
            let mut elements = vec![0; 300 * format.width().bytes()];
            block.reconstruct(coded, &mut elements);
            let mut again = vec![0; coded.len()];
            block.forward(&elements, &mut again);
            if coded_width == format.width() {
                prop_assert!(again == coded, "{modes:?}");
            } else {
                let mut back = vec![0; elements.len()];
                block.reconstruct(&again, &mut back);
                prop_assert!(back == elements, "{modes:?}");
            }
        }
    }
}
