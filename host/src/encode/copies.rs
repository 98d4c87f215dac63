//! Tensors that are equal byte for byte, such as tied embeddings: stored once.

use std::collections::HashMap;

use rayon::prelude::*;

use super::layout::element_layout;
use crate::hash::xxh3;
use crate::safetensors::Header;

/// Bytes at the start, in the middle and at the end of a tensor that are compared before it is hashed
/// as a whole.
const SAMPLE_BYTES: usize = 64;

/// For each tensor of a file, the first one that has the same bytes, if that is an earlier one, and
/// elements of the same width. Only tensors of equal length and sample are read.
pub(crate) fn find_copies(file: &[u8], header: &Header) -> Vec<Option<u32>> {
    let bytes = |number: usize| header.tensors[number].bytes(file).unwrap_or_default();
    let mut alike: HashMap<(usize, usize, u64), Vec<usize>> = HashMap::new();
    for (number, entry) in header.tensors.iter().enumerate() {
        let width = element_layout(&entry.dtype).width.bytes();
        if let bytes @ [_, ..] = bytes(number) {
            alike.entry((bytes.len(), width, sample(bytes))).or_default().push(number);
        }
    }
    let candidates: Vec<Vec<usize>> =
        alike.into_values().filter(|numbers| numbers.len() > 1).collect();
    let found: Vec<(usize, usize)> =
        candidates.into_par_iter().flat_map_iter(|numbers| equal_pairs(&numbers, bytes)).collect();
    let mut copies = vec![None; header.tensors.len()];
    for (copy, original) in found {
        copies[copy] = Some(original as u32);
    }
    copies
}

fn sample(bytes: &[u8]) -> u64 {
    let length = bytes.len().min(SAMPLE_BYTES);
    let middle = (bytes.len() - length) / 2;
    let places = [0, middle, bytes.len() - length];
    xxh3(&places.map(|at| &bytes[at..][..length]).concat())
}

/// Copies, each with its original, among tensors in ascending order.
fn equal_pairs<'a>(
    numbers: &[usize],
    bytes: impl Fn(usize) -> &'a [u8] + Sync,
) -> Vec<(usize, usize)> {
    let hashes: Vec<u64> = numbers.par_iter().map(|&number| xxh3(bytes(number))).collect();
    let mut originals: HashMap<u64, usize> = HashMap::new();
    let mut pairs = Vec::new();
    for (&number, hash) in numbers.iter().zip(hashes) {
        let original = *originals.entry(hash).or_insert(number);
        if original != number && bytes(original) == bytes(number) {
            pairs.push((number, original));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safetensors::{Dtype, TensorData, build, parse};

    #[test]
    fn only_equal_bytes_of_equal_width_are_copies() {
        let plain: Vec<u8> = (0..=255).cycle().take(1024).collect();
        let mut other = plain.clone();
        // Where no sample is taken.
        other[200] ^= 1;
        let tensors = [
            ("a", Dtype::F32, &[256][..], &plain[..]),
            ("b", Dtype::F32, &[256], &other),
            ("c", Dtype::I32, &[16, 16], &plain),
            ("d", Dtype::F16, &[512], &plain),
            ("e", Dtype::F32, &[256], &other),
            ("f", Dtype::F32, &[0], &[]),
            ("g", Dtype::F32, &[0], &[]),
            ("h", Dtype::F32, &[256], &plain),
        ];
        let tensors =
            tensors.map(|(name, dtype, shape, bytes)| TensorData { name, dtype, shape, bytes });
        let file = build(&tensors, &[]).unwrap();
        let header = parse(&file, std::path::Path::new("m")).unwrap();
        let found = find_copies(&file, &header);
        let name = |number: usize| header.tensors[number].name.as_str();
        let mut pairs: Vec<(&str, &str)> = found
            .iter()
            .enumerate()
            .filter_map(|(copy, original)| Some((name(copy), name((*original)? as usize))))
            .collect();
        pairs.sort_unstable();
        assert_eq!(pairs, [("c", "a"), ("e", "b"), ("h", "a")]);
    }
}
