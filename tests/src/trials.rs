//! A small real file, and everything that can be wrong with it, tried one by one.

use std::path::Path;

use wcodec::safetensors::{TensorData, build, parse};
use wcodec::{Checkpoint, DEMO_CHECKPOINT, EncodeOptions, Result, encode_safetensors_bytes};

use crate::Parts;

/// Bytes that are kept of each tensor of the demonstration checkpoint.
const KEPT_BYTES: usize = 1024;

/// Numbers that a file may claim.
const LIES: [u64; 9] =
    [0, 1, 1 << 20, 1 << 31, u32::MAX as u64, 1 << 40, 1 << 63, u64::MAX - 64, u64::MAX];

/// Real weights of every common dtype, cut so small that every bit of the file can be tried.
///
/// # Errors
///
/// None, unless the demonstration checkpoint is not what it was.
pub fn small_original() -> Result<Vec<u8>> {
    let header = parse(DEMO_CHECKPOINT, Path::new("demo"))?;
    let mut seen = Vec::new();
    let mut tensors = Vec::new();
    for entry in &header.tensors {
        if seen.contains(&&entry.dtype) {
            continue;
        }
        seen.push(&entry.dtype);
        let bytes = entry.bytes(DEMO_CHECKPOINT).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(KEPT_BYTES)];
        let width = u64::from(entry.dtype.bits().unwrap_or(8)).div_ceil(8);
        tensors.push((entry, [bytes.len() as u64 / width], bytes));
    }
    let tensors: Vec<TensorData<'_>> = tensors
        .iter()
        .map(|(entry, shape, bytes)| TensorData {
            name: &entry.name,
            dtype: entry.dtype.clone(),
            shape,
            bytes,
        })
        .collect();
    build(&tensors, &[])
}

/// [`small_original`], encoded.
///
/// # Errors
///
/// As [`small_original`].
pub fn small_file() -> Result<Vec<u8>> {
    Ok(encode_safetensors_bytes(&small_original()?, &EncodeOptions::default())?.0)
}

/// What became of files that are not as they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trials {
    /// Files that were tried.
    pub tried: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Those that decoded to exactly the original.
    pub exact: usize,
    /// Those that decoded to anything else.
    pub wrong: usize,
}

impl Trials {
    fn add(&mut self, file: Vec<u8>, original: &[u8]) {
        self.tried += 1;
        let restored = Checkpoint::from_bytes(file).and_then(|checkpoint| {
            let restored = checkpoint.restore_bytes()?;
            checkpoint.verify(None)?;
            Ok(restored)
        });
        match restored {
            Err(_) => self.refused += 1,
            Ok(restored) if restored == original => self.exact += 1,
            Ok(_) => self.wrong += 1,
        }
    }
}

/// Every `step`th length of `file`.
pub fn truncations(file: &[u8], original: &[u8], step: usize) -> Trials {
    let mut trials = Trials::default();
    (0..file.len()).step_by(step).for_each(|length| trials.add(file[..length].to_vec(), original));
    trials
}

/// Every `step`th bit of `file`, flipped.
pub fn flips(file: &[u8], original: &[u8], step: usize) -> Trials {
    let mut trials = Trials::default();
    for bit in (0..8 * file.len()).step_by(step) {
        let mut damaged = file.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        trials.add(damaged, original);
    }
    trials
}

/// Absurd numbers at every `step`th place of the index and in every field of the footer, with
/// the right checksums around them; and in the length of a `.safetensors` header.
pub fn lies(file: &[u8], original: &[u8], step: usize) -> Trials {
    let mut trials = Trials::default();
    let parts = Parts::of(file);
    for lie in LIES {
        for at in (0..parts.index.len() - 8).step_by(step) {
            let mut forged = parts.clone();
            forged.index[at..at + 8].copy_from_slice(&lie.to_le_bytes());
            trials.add(forged.file(), original);
        }
        for field in 0..6 {
            let mut forged = file.to_vec();
            let footer = forged.len() - 64;
            forged[footer + 8 * field..][..8].copy_from_slice(&lie.to_le_bytes());
            let checksum = twox_hash::XxHash3_64::oneshot(&forged[footer..][..48]);
            forged[footer + 48..][..8].copy_from_slice(&checksum.to_le_bytes());
            trials.add(forged, original);
        }
        let mut header = original.to_vec();
        header[..8].copy_from_slice(&lie.to_le_bytes());
        trials.tried += 1;
        match parse(&header, Path::new("forged")) {
            Err(_) => trials.refused += 1,
            Ok(_) => trials.wrong += 1,
        }
    }
    trials
}

/// Files of some KiB whose indexes inflate to as much as a reader accepts, filled with what takes
/// the most memory for its length: empty lists, short names, entries of metadata.
pub fn bombs() -> Vec<Vec<u8>> {
    const INDEX_BYTES: usize = 4 << 20;
    const LIST_BYTES: usize = 1 << 19;
    // No checksums, length of the original, no SHA-256, no base, length of the header, which lacks nothing
    // but its end.
    let start = |header: usize| {
        let (header, json) = (header as u64, (header as u64).saturating_sub(8));
        let (none, original) = (0u64.to_le_bytes(), u64::MAX.to_le_bytes());
        [&none[..], &original, &[0, 0], &header.to_le_bytes(), &json.to_le_bytes()].concat()
    };
    let room = INDEX_BYTES - 64;
    let filled = |opening: &str, entry: &dyn Fn(usize) -> String| {
        let mut header = opening.to_owned();
        for number in 0.. {
            let entry = entry(number);
            if header.len() + entry.len() > room {
                break;
            }
            header += &entry;
        }
        [&start(header.len() + 8)[..], header.as_bytes(), &[0; 16]].concat()
    };
    let metadata = filled(r#"{"__metadata__":{"#, &|number| format!(r#""{number:x}":"","#));
    let tensors = filled("{", &|number| {
        format!(r#""{number:x}":{{"dtype":"","shape":[],"data_offsets":[0,0]}},"#)
    });
    let shapes = filled("{", &|number| {
        format!(
            r#""{number:x}":{{"dtype":"","shape":[{}0],"data_offsets":[0,0]}},"#,
            "0,".repeat(63)
        )
    });
    // No checksums, no header, and lists that claim what the zeros after them may just hold, or far more; zeros
    // would inflate to too much, so these indexes are stored as they are.
    let lists = [LIST_BYTES as u64 / 9, LIST_BYTES as u64 / 80, 1 << 32, u64::MAX].map(|count| {
        let mut index = [&[0; 26][..], &count.to_le_bytes()].concat();
        index.resize(LIST_BYTES, 0);
        Parts { payload: Vec::new(), index }.file()
    });
    let deflated = [metadata, tensors, shapes]
        .map(|index| Parts { payload: Vec::new(), index }.deflated_file());
    deflated.into_iter().chain(lists).collect()
}
