//! DEFLATE with memory that is kept: a compressor has a third of a MiB, which takes a small file longer to
//! get and to clear than its index takes to be deflated.

use std::sync::LazyLock;

use miniz_oxide::DataFormat;
use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output};

use crate::spares::Spares;

static COMPRESSORS: LazyLock<Spares<Box<CompressorOxide>>> = LazyLock::new(Spares::default);

/// `bytes` as a zlib stream, with a level from 0 to 10. None if the compressor fails, which it never should.
pub(super) fn deflate(bytes: &[u8], level: u8) -> Option<Vec<u8>> {
    COMPRESSORS.lend(|compressor| {
        compressor.reset();
        compressor.set_format_and_level(DataFormat::Zlib, level);
        let mut deflated = Vec::with_capacity(bytes.len() / 2);
        let append = |part: &[u8]| {
            deflated.extend_from_slice(part);
            true
        };
        let (status, _) = compress_to_output(compressor, bytes, TDEFLFlush::Finish, append);
        (status == TDEFLStatus::Done).then_some(deflated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressor_has_forgotten_what_was_before() {
        let mut state = 1u32;
        for length in [0, 1, 100, 70_000, 300_000, 17] {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8 & 0x1F
                })
                .collect();
            for level in [0, 4, 9] {
                let deflated = deflate(&bytes, level).unwrap();
                assert!(deflated == miniz_oxide::deflate::compress_to_vec_zlib(&bytes, level));
                let inflated = miniz_oxide::inflate::decompress_to_vec_zlib(&deflated);
                assert!(inflated.is_ok_and(|inflated| inflated == bytes));
            }
        }
    }
}
