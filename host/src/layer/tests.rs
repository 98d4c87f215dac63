//! Layers come back, and what is no layer is refused with a reason.

use super::*;
use crate::error::ErrorKind;

fn weights(rows: usize, columns: usize) -> Vec<i8> {
    // Period 251, so that a shift by a block or a row shows.
    (0..rows * columns).map(|i| ((i % 251) as u8).wrapping_mul(37) as i8 / 3).collect()
}

/// A file of I8 tensors of shape [2, 3] called by `names`.
fn file_of(names: &[&str], dtype: Dtype, metadata: &[(&str, &str)]) -> Vec<u8> {
    let tensor = |&name| TensorData { name, dtype: dtype.clone(), shape: &[2, 3], bytes: &[7; 6] };
    let tensors: Vec<_> = names.iter().map(tensor).collect();
    let file = build(&tensors, metadata).unwrap();
    encode_safetensors_bytes(&file, &EncodeOptions::default()).unwrap().0
}

#[track_caller]
fn assert_refused(result: Result<Vec<i8>>, message: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(message), "{error}");
}

#[test]
fn every_option_and_odd_shapes_come_back() {
    for tile in TileShape::ALL {
        for (rows, columns) in [(0, 0), (0, 5), (1, 1), (3, 7), (33, 129), (300, 211)] {
            for states_per_lane in [1, 2] {
                let options = EncoderOptions::default()
                    .with_tile(tile)
                    .with_block_elements(1024)
                    .with_states_per_lane(states_per_lane);
                let weights = weights(rows, columns);
                let (encoded, stats) =
                    Encoder::new(options).encode_layer(&weights, rows, columns).unwrap();
                assert_eq!(stats.original_bytes, weights.len() as u64);
                assert_eq!(stats.encoded_bytes, encoded.len() as u64);
                let decoded = Decoder::new().decode_layer(&encoded, rows, columns).unwrap();
                assert_eq!(decoded, weights);
                let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
                assert_eq!(recorded_tile(&checkpoint).unwrap(), tile);
            }
        }
    }
}

#[test]
fn a_large_layer_of_few_values_shrinks() {
    let weights: Vec<i8> = (0..512 * 512).map(|i| (i % 5) as i8).collect();
    let (_, stats) = Encoder::default().encode_layer(&weights, 512, 512).unwrap();
    assert!(stats.compression_ratio() > 2.0, "{stats:?}");
}

#[test]
fn another_number_of_weights_than_rows_times_columns_is_refused() {
    let encoder = Encoder::default();
    for (rows, columns) in [(2, 4), (usize::MAX, 2)] {
        let error = encoder.encode_layer(&[1; 6], rows, columns).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("6 weights were given"), "{error}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    for options in [
        EncoderOptions::default().with_block_elements(1000),
        EncoderOptions::default().with_states_per_lane(3),
    ] {
        let error = Encoder::new(options).encode_layer(&[1; 6], 2, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn another_shape_than_the_recorded_one_is_refused() {
    let (encoded, _) = Encoder::default().encode_layer(&[1; 6], 2, 3).unwrap();
    for (rows, columns) in [(3, 2), (6, 1), (2, 4), (usize::MAX, usize::MAX)] {
        assert_refused(
            Decoder::new().decode_layer(&encoded, rows, columns),
            "it has the shape [2, 3]",
        );
    }
}

#[test]
fn files_that_are_no_layer_are_refused() {
    let tile = [("tile", "16x16")];
    let decode = |file: Vec<u8>| Decoder::new().decode_layer(&file, 2, 3);
    assert_eq!(decode(file_of(&["layer"], Dtype::I8, &tile)).unwrap(), [7; 6]);
    assert_refused(decode(file_of(&["a", "b"], Dtype::I8, &tile)), "a file of 2 tensors");
    assert_refused(decode(file_of(&[], Dtype::I8, &tile)), "a file of 0 tensors");
    assert_refused(decode(file_of(&["a"], Dtype::U8, &tile)), "has dtype U8, not I8");
    assert_refused(decode(file_of(&["a"], Dtype::I8, &[])), "records no tile shape");
    assert_refused(
        decode(file_of(&["a"], Dtype::I8, &[("tile", "4x4")])),
        "\"4x4\" is none of 16x16, 8x32, 32x8",
    );
}

#[test]
fn damage_is_found() {
    let (mut encoded, _) = Encoder::default().encode_layer(&weights(40, 40), 40, 40).unwrap();
    // The payload begins after the header's 64 bytes.
    encoded[64 + 100] ^= 1;
    let error = Decoder::new().decode_layer(&encoded, 40, 40).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_small_layer_is_not_drowned_by_fixed_parts() {
    // Four bits of entropy in eight: what is not payload stays below a twentieth.
    let small: Vec<i8> = weights(64, 64).into_iter().map(|w| w & 15).collect();
    let (encoded, stats) = Encoder::default().encode_layer(&small, 64, 64).unwrap();
    assert!(stats.compression_ratio() > 1.2, "{} bytes", encoded.len());
}
