//! Tensors that are computed rather than trained are coded in tiles: much smaller, and exact.

use codec::constants::ALPHABET;
use codec::split::Width;
use codec::tile::{BlockGrid, Mode, NumberFormat, NumberKind, TiledBlock};
use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, EncodeOptions, Profile, encode_safetensors_bytes};
use wcodec_tests::{Pattern, Random, SmoothTable, TestTensor, safetensors_file};

/// Encodes one tensor, checks that it comes back, as a whole and in parts, and returns the checkpoint.
fn encoded(tensor: &TestTensor, options: &EncodeOptions) -> Checkpoint {
    let file = safetensors_file(std::slice::from_ref(tensor)).unwrap();
    let (encoded, _) = encode_safetensors_bytes(&file, options).unwrap();
    let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
    assert!(checkpoint.restore_bytes().unwrap() == file, "{}", tensor.name);
    let found = checkpoint.tensors().next().unwrap();
    let width = found.element_bytes() as usize;
    let count = tensor.bytes.len() / width;
    for range in [0..1, count / 3..count / 3 + 1, count / 2..count, 1000..1030] {
        let part = found.decode_range(range.start as u64..range.end as u64).unwrap();
        let expected = &tensor.bytes[range.start * width..range.end * width];
        assert!(part.as_bytes() == expected, "{} {range:?}", tensor.name);
    }
    checkpoint
}

fn profile(profile: Profile) -> EncodeOptions {
    EncodeOptions { section_alignment: 64, ..EncodeOptions::of(profile) }
}

/// Bytes of the smallest file that codes each byte of an element with one table.
fn order_0(tensor: &TestTensor) -> f64 {
    let rotated = tensor.dtype == Dtype::F16;
    let elements = match tensor.dtype {
        Dtype::I8 => tensor.bytes.clone(),
        _ => {
            let halves = tensor.bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
            let rotate = |half: u16| half.rotate_left(u32::from(rotated));
            halves.flat_map(|half| rotate(half).to_le_bytes()).collect()
        }
    };
    let width = if rotated { 2 } else { 1 };
    plane_bytes(&elements, width)
}

/// Bytes of little-endian elements of `width` bytes, by the entropy of each plane.
fn plane_bytes(elements: &[u8], width: usize) -> f64 {
    let plane = |plane: usize| {
        let mut counts = [0u32; ALPHABET];
        elements.iter().skip(plane).step_by(width).for_each(|&byte| counts[usize::from(byte)] += 1);
        let total = f64::from(counts.iter().sum::<u32>());
        let bits = counts
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| -f64::from(count) * (f64::from(count) / total).log2());
        bits.sum::<f64>() / 8.0
    };
    (0..width).map(plane).sum()
}

/// What a tensor of INT8 filters takes with a single mode for all of it, coded as [`order_0`].
fn with_one_mode(tensor: &TestTensor, mode: Mode) -> f64 {
    let columns = *tensor.shape.last().unwrap() as u32;
    let format = NumberFormat::new(Width::One, NumberKind::Signed).unwrap();
    let grid = BlockGrid { elements: tensor.bytes.len() as u32, columns };
    let modes = vec![mode as u8; grid.sub_blocks() as usize];
    let block = TiledBlock::new(grid, format, Width::One, &modes).unwrap();
    let mut coded = vec![0; tensor.bytes.len()];
    block.forward(&tensor.bytes, &mut coded);
    plane_bytes(&coded, 1)
}

fn modes_of(checkpoint: &Checkpoint) -> Vec<(usize, &'static str)> {
    checkpoint.tensors().next().unwrap().tile_modes()
}

#[test]
fn smooth_tables_take_a_fifth_less_than_with_tables_alone() {
    let tables = [
        SmoothTable::sinusoidal_positions(512, 384),
        SmoothTable::rotary_cosines(1024, 128),
        SmoothTable::rotary_sines(1024, 128),
    ];
    for tensor in tables.iter().flat_map(|table| [table.as_i8(), table.as_f16()]) {
        for options in [profile(Profile::Fast), profile(Profile::Max)] {
            let checkpoint = encoded(&tensor, &options);
            let predicted = modes_of(&checkpoint).iter().any(|(_, mode)| *mode != "none");
            assert!(predicted, "{}", tensor.name);
            let (bytes, plain) = (checkpoint.encoded_bytes() as f64, order_0(&tensor));
            assert!(bytes < 0.8 * plain, "{}: {bytes} and {plain}", tensor.name);
        }
    }
}

#[test]
fn filters_are_transformed_where_that_is_smallest() {
    let tensor = SmoothTable::gabor_bank(1024, 16).as_i8();
    let checkpoint = encoded(&tensor, &profile(Profile::Max));
    let modes = modes_of(&checkpoint);
    assert!(modes.iter().any(|(_, mode)| mode.contains("DCT")), "{modes:?}");
    let bytes = checkpoint.encoded_bytes() as f64;
    assert!(bytes < 0.85 * order_0(&tensor), "{bytes}");
    for mode in Mode::ALL.into_iter().filter(|mode| mode.transforms().is_none()) {
        let alone = with_one_mode(&tensor, mode);
        assert!(bytes < 0.85 * alone, "{bytes} and {alone} with {mode:?}");
    }
}

/// Blocks begin and end in the middle of rows, and the last one is short.
#[test]
fn every_size_and_number_of_states_comes_back() {
    let sizes = [(70, 33), (64, 48), (3, 1500), (2500, 1), (131, 17)];
    for (rows, columns) in sizes {
        let table = SmoothTable::rotary_cosines(rows, (columns / 2 * 2).max(2));
        for tensor in [table.as_i8(), table.as_f16(), table.as_f32()] {
            for states_per_lane in [1, 2] {
                for of in [Profile::Fast, Profile::Max] {
                    let options =
                        EncodeOptions { states_per_lane, block_elements: 1024, ..profile(of) };
                    let checkpoint = encoded(&tensor, &options);
                    let tensor = checkpoint.tensors().next().unwrap();
                    assert!(!tensor.plans().is_empty());
                }
            }
        }
    }
}

#[test]
fn the_same_bytes_with_any_number_of_threads() {
    let tensor = SmoothTable::gabor_bank(300, 16).as_i8();
    let file = safetensors_file(std::slice::from_ref(&tensor)).unwrap();
    let encode = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encode_safetensors_bytes(&file, &profile(Profile::Max)).unwrap().0)
    };
    assert!(encode(1) == encode(3));
}

#[test]
fn weights_are_not_coded_in_tiles() {
    let random = &mut Random::new(8);
    for dtype in [Dtype::I8, Dtype::BF16, Dtype::F16, Dtype::F32] {
        let tensor = TestTensor::new("w", dtype, &[300, 200], Pattern::Gaussian, random);
        for options in [profile(Profile::Fast), profile(Profile::Max)] {
            assert_eq!(modes_of(&encoded(&tensor, &options)), []);
        }
    }
}
