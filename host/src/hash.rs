//! Checksums: SHA-256 for whole files, as model hubs publish it; xxh3 for everything inside.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Bytes that are hashed at a time, so that a mapped file's pages need not all be in memory.
const PIECE_BYTES: usize = 1 << 20;

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    bytes.chunks(PIECE_BYTES).for_each(|piece| hash.update(piece));
    hash.finalize().into()
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
