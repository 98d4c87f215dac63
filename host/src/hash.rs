//! Checksums: SHA-256 for whole files, as model hubs publish it; xxh3 for everything inside.

use std::fmt::Write;

use codec::simd::prefetch;
use sha2::Digest;

/// Bytes that are hashed at a time, and of which as many are asked for [`BYTES_AHEAD`].
const PIECE_BYTES: usize = 1 << 10;
/// How far ahead of what is hashed memory is asked for more. By itself a processor fetches ahead only
/// within a page, and hashing is too slow for it to see where the next one begins.
const BYTES_AHEAD: usize = 4 << 10;

/// SHA-256 of bytes that come in pieces.
#[derive(Default)]
pub(crate) struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Adds `bytes`.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            let ahead = bytes.get(number * PIECE_BYTES + BYTES_AHEAD..).unwrap_or_default();
            prefetch(&ahead[..ahead.len().min(PIECE_BYTES)]);
            self.0.update(piece);
        }
    }

    /// The hash of what was added.
    pub(crate) fn finalize(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::default();
    hash.update(bytes);
    hash.finalize()
}

/// xxh3 with 64 bits of bytes that come in pieces.
pub(crate) type Xxh3 = twox_hash::XxHash3_64;

/// xxh3 with 64 bits.
pub(crate) fn xxh3(bytes: &[u8]) -> u64 {
    Xxh3::oneshot(bytes)
}

/// A tensor's checksum from those of its decoded blocks in order: so blocks can be hashed by
/// several threads, each while its bytes are in the cache.
pub(crate) fn of_blocks(checksums: &[u64]) -> u64 {
    let bytes: Vec<u8> = checksums.iter().flat_map(|checksum| checksum.to_le_bytes()).collect();
    xxh3(&bytes)
}

/// Lower-case hexadecimal digits, two a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_that_of_the_standard_whatever_the_pieces() {
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        );
        let bytes: Vec<u8> =
            (0..3 * BYTES_AHEAD as u32 + 7).map(|n| ((n * n) >> 5) as u8).collect();
        for length in
            [0, 1, PIECE_BYTES - 1, PIECE_BYTES, BYTES_AHEAD, BYTES_AHEAD + 1, bytes.len()]
        {
            let bytes = &bytes[..length];
            let whole: [u8; 32] = sha2::Sha256::digest(bytes).into();
            assert_eq!(sha256(bytes), whole, "{length} bytes");
            let mut hash = Sha256::default();
            bytes.chunks(PIECE_BYTES + 3).for_each(|piece| hash.update(piece));
            assert_eq!(hash.finalize(), whole, "{length} bytes in pieces");
        }
    }
}
