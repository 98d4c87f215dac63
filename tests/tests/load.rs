//! Loading: what is ready is what was encoded, slices make up the whole, and what goes wrong ends
//! cleanly. Each test runs on the CPU, and on the first GPU where there is one; where
//! `WCODEC_REQUIRE_GPU` is set there has to be one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wcodec::safetensors::Dtype;
use wcodec::{
    Cancel, Checkpoint, Device, EncodeOptions, Error, ErrorKind, LoadOptions, Profile, Progress,
    ResidentCheckpoint, Shard, encode_safetensors_bytes,
};
use wcodec_tests::{Pattern, Random, TestTensor, golden_tensors, require_gpu, safetensors_file};

fn devices() -> Vec<Device> {
    let required = std::env::var_os(wcodec_tests::REQUIRE_GPU).is_some();
    let gpu = require_gpu(required, Device::cuda(0)).unwrap();
    [Some(Device::cpu()), gpu].into_iter().flatten().collect()
}

/// Matrices of every width, with odd numbers of rows and columns, and small tensors of every dtype.
fn tensors() -> Vec<TestTensor> {
    let random = &mut Random::new(91);
    let mut tensors = golden_tensors();
    for (dtype, shape) in [
        (Dtype::BF16, vec![301, 130]),
        (Dtype::F32, vec![66, 3, 130]),
        (Dtype::I8, vec![200, 1000]),
        (Dtype::F16, vec![90_007]),
    ] {
        let name = format!("matrix.{dtype}");
        tensors.push(TestTensor::new(name, dtype, &shape, Pattern::Gaussian, random));
    }
    tensors
}

fn encode(tensors: &[TestTensor], profile: Profile) -> Vec<u8> {
    let file = safetensors_file(tensors).unwrap();
    let options = EncodeOptions { block_elements: 4096, ..EncodeOptions::of(profile) };
    encode_safetensors_bytes(&file, &options).unwrap().0
}

fn checkpoint(tensors: &[TestTensor], profile: Profile) -> Checkpoint {
    Checkpoint::from_bytes(encode(tensors, profile)).unwrap()
}

#[test]
fn everything_that_is_loaded_is_what_was_encoded() {
    let tensors = tensors();
    for device in devices() {
        for profile in [Profile::Fast, Profile::Max] {
            let checkpoint = checkpoint(&tensors, profile);
            for threads in [1, 3] {
                let options = LoadOptions { threads, ..LoadOptions::default() };
                let loaded = checkpoint.load(&device, &options).unwrap();
                assert_eq!(loaded.tensors().len(), tensors.len());
                for expected in &tensors {
                    let tensor = loaded.tensor(&expected.name).unwrap();
                    assert_eq!(tensor.shape(), expected.shape);
                    assert_eq!(tensor.dtype(), &expected.dtype);
                    let bytes = tensor.to_host().unwrap();
                    assert!(bytes.as_bytes() == expected.bytes, "{}", expected.name);
                }
                let report = loaded.report();
                let bytes: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
                assert_eq!(report.tensor_bytes, bytes as u64);
                assert!(report.pinned_bytes <= options.pinned_bytes as u64);
                assert!(report.checksums);
            }
        }
    }
}

#[test]
fn names_and_patterns_choose_and_others_are_errors() {
    let tensors = tensors();
    let checkpoint = checkpoint(&tensors, Profile::Fast);
    for device in devices() {
        let options = LoadOptions { tensors: vec!["matrix.F*".into()], ..LoadOptions::default() };
        let loaded = checkpoint.load(&device, &options).unwrap();
        let names: Vec<&str> = loaded.tensors().iter().map(|tensor| tensor.name()).collect();
        assert_eq!(names, ["matrix.F32", "matrix.F16"]);
        let error = loaded.tensor("matrix.I8").map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let misspelt = LoadOptions { tensors: vec!["matrix.F33".into()], ..LoadOptions::default() };
        let error = checkpoint.load(&device, &misspelt).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("\"matrix.F32\""), "{error}");
        for wrong in ["matrix.F33", "matrix.Q*"] {
            let options = LoadOptions { tensors: vec![wrong.into()], ..LoadOptions::default() };
            let error = checkpoint.load(&device, &options).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
}

/// The parts of a row-major matrix along a dimension, put together again.
fn joined(parts: &[Vec<u8>], rows: usize) -> Vec<u8> {
    let mut whole = Vec::new();
    for row in 0..rows {
        for part in parts {
            let length = part.len() / rows;
            whole.extend_from_slice(&part[row * length..][..length]);
        }
    }
    whole
}

#[test]
fn slices_of_all_ranks_make_up_the_whole() {
    let tensors = tensors();
    let matrices: Vec<&TestTensor> =
        tensors.iter().filter(|tensor| tensor.name.starts_with("matrix")).collect();
    let checkpoint = checkpoint(&tensors, Profile::Fast);
    for device in devices() {
        for (count, dimension) in [(2, 0), (3, 0), (2, 1), (5, 1), (2, 2)] {
            let rules = Shard::new(0, count).along("matrix.*", dimension);
            let options = LoadOptions {
                shard: Some(rules),
                tensors: vec!["matrix.*".into()],
                pinned_bytes: count * LoadOptions::MIN_PINNED_BYTES,
                ..LoadOptions::default()
            };
            // Several devices are several times the same one here.
            let shards = checkpoint.load_sharded(&vec![device.clone(); count], &options).unwrap();
            for expected in &matrices {
                let part = |shard: &wcodec::LoadedCheckpoint| {
                    shard.tensor(&expected.name).unwrap().to_host().unwrap().as_bytes().to_vec()
                };
                let parts: Vec<Vec<u8>> = shards.iter().map(part).collect();
                let Some(before) = expected.shape.get(..dimension) else { continue };
                if expected.shape.len() == dimension {
                    assert!(parts.iter().all(|part| *part == expected.bytes));
                    continue;
                }
                let rows = before.iter().product::<u64>() as usize;
                // Parts differ by an element at most, so that rows have to be cut by their shapes.
                let whole = joined(&parts, rows);
                assert!(whole == expected.bytes, "{} {count} {dimension}", expected.name);
                let sum: u64 = shards
                    .iter()
                    .map(|shard| shard.tensor(&expected.name).unwrap().shape()[dimension])
                    .sum();
                assert_eq!(sum, expected.shape[dimension]);
            }
        }
    }
}

#[test]
fn a_slice_reads_only_what_it_needs_of_the_file() {
    let random = &mut Random::new(17);
    let shape = [1600, 1000];
    let tensors = [TestTensor::new("w", Dtype::BF16, &shape, Pattern::Gaussian, random)];
    let checkpoint = checkpoint(&tensors, Profile::Fast);
    let whole = checkpoint.tensor("w").unwrap().encoded_bytes();
    for device in devices() {
        let read = |shard: Option<Shard>, checksums: bool| {
            let options = LoadOptions { shard, checksums, ..LoadOptions::default() };
            checkpoint.load(&device, &options).unwrap().report().file_bytes
        };
        for checksums in [true, false] {
            assert_eq!(read(None, checksums), whole);
            let ranks: Vec<u64> = (0..4)
                .map(|rank| read(Some(Shard::new(rank, 4).along("w", 0)), checksums))
                .collect();
            // Neighbours share a chunk, or without checksums a block.
            assert!(ranks.iter().all(|&bytes| bytes < whole), "{ranks:?} of {whole}");
            assert!(ranks.iter().sum::<u64>() >= whole, "{ranks:?} of {whole}");
            let columns = read(Some(Shard::new(0, 2).along("w", 1)), checksums);
            assert_eq!(columns, whole, "every block has some of the columns");
        }
        let rows = || Some(Shard::new(1, 4).along("w", 0));
        assert!(read(rows(), false) < read(rows(), true));
    }
}

/// Cancels as soon as something is ready.
struct Impatient {
    cancel: Cancel,
    seen: AtomicU64,
}

impl Progress for Impatient {
    fn start(&self, _total: u64) {
        self.cancel.cancel();
    }

    fn advance(&self, bytes: u64) {
        self.seen.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn a_cancelled_load_says_so_and_the_next_one_works() {
    let tensors = tensors();
    let checkpoint = checkpoint(&tensors, Profile::Fast);
    for device in devices() {
        let cancel = Cancel::default();
        let progress = Arc::new(Impatient { cancel: cancel.clone(), seen: AtomicU64::new(0) });
        let options = LoadOptions {
            cancel: Some(cancel),
            progress: Some(Arc::clone(&progress) as _),
            ..LoadOptions::default()
        };
        let outcome = checkpoint.load(&device, &options).map(|_| ());
        assert!(matches!(outcome, Err(Error::Cancelled { .. })), "{outcome:?}");
        let loaded = checkpoint.load(&device, &LoadOptions::default()).unwrap();
        assert!(progress.seen.load(Ordering::Relaxed) < loaded.report().tensor_bytes);
    }
}

#[test]
fn a_damaged_chunk_is_named_and_other_files_load_afterwards() {
    let tensors = tensors();
    let good = encode(&tensors, Profile::Fast);
    let options = EncodeOptions::of(Profile::Fast);
    let intact = Checkpoint::from_bytes(good.clone()).unwrap();
    for device in devices() {
        // In the payload's first bytes, its middle and its end.
        for place in [0, 1, 2] {
            let mut damaged = good.clone();
            let payload = tensors_bytes(&intact);
            damaged[options.section_alignment + place * (payload - 1) / 2] ^= 1;
            let damaged = Checkpoint::from_bytes(damaged).unwrap();
            let error = damaged.load(&device, &LoadOptions::default()).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("tensor"), "{error}");
            intact.load(&device, &LoadOptions::default()).unwrap();
        }
    }
}

/// Three tensors of more than a chunk each.
fn long_tensors() -> Vec<TestTensor> {
    let random = &mut Random::new(23);
    ["first", "second", "third"]
        .map(|name| TestTensor::new(name, Dtype::BF16, &[1 << 20], Pattern::Gaussian, random))
        .into()
}

#[test]
fn the_tensor_that_damage_is_in_is_named() {
    let mut file = encode(&long_tensors(), Profile::Fast);
    let middle = file.len() / 2;
    file[middle] ^= 0x20;
    let damaged = Checkpoint::from_bytes(file).unwrap();
    for device in devices() {
        let error = damaged.load(&device, &LoadOptions::default()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("tensor \"second\""), "{error}");
        // What is intact of the same file can be had.
        let tensors = vec!["first".into(), "third".into()];
        let options = LoadOptions { tensors, ..LoadOptions::default() };
        assert_eq!(damaged.load(&device, &options).unwrap().tensors().len(), 2);
    }
}

/// Cuts a file short when loading begins.
#[cfg(unix)]
struct Cutter(std::path::PathBuf);

#[cfg(unix)]
impl Progress for Cutter {
    fn start(&self, _total: u64) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.0).unwrap();
        file.set_len(1 << 20).unwrap();
    }

    fn advance(&self, _bytes: u64) {}
}

#[cfg(unix)]
#[test]
fn a_file_cut_short_while_it_is_loaded_is_an_error() {
    wcodec::guard_mapped_files().unwrap();
    let tensors = long_tensors();
    let file = encode(&tensors, Profile::Fast);
    let folder = tempfile::tempdir().unwrap();
    let (cut, intact) = (folder.path().join("cut.wcodec"), folder.path().join("intact.wcodec"));
    std::fs::write(&intact, &file).unwrap();
    for device in devices() {
        std::fs::write(&cut, &file).unwrap();
        let checkpoint = Checkpoint::open(&cut).unwrap();
        let progress = Some(Arc::new(Cutter(cut.clone())) as _);
        let options = LoadOptions { progress, ..LoadOptions::default() };
        let error = checkpoint.load(&device, &options).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
        drop(checkpoint);
        let intact = Checkpoint::open(&intact).unwrap();
        let loaded = intact.load(&device, &LoadOptions::default()).unwrap();
        for expected in &tensors {
            let bytes = loaded.tensor(&expected.name).unwrap().to_host().unwrap();
            assert!(bytes.as_bytes() == expected.bytes, "{}", expected.name);
        }
    }
}

/// Bytes of all blocks.
fn tensors_bytes(checkpoint: &Checkpoint) -> usize {
    checkpoint.tensors().map(|tensor| tensor.encoded_bytes()).sum::<u64>() as usize
}

#[test]
fn callers_bring_their_own_memory_on_the_cpu() {
    let tensors = tensors();
    let checkpoint = checkpoint(&tensors, Profile::Fast);
    let options = LoadOptions::default();
    let layout = checkpoint.load_layout(&options).unwrap();
    let mut out = vec![0xA5; layout.total_bytes as usize];
    checkpoint.load_into(&mut out, &options).unwrap();
    for (place, expected) in layout.tensors.iter().zip(&tensors) {
        let bytes = &out[place.offset as usize..][..place.bytes as usize];
        assert!(place.offset.is_multiple_of(wcodec::TENSOR_ALIGNMENT));
        assert!(place.name == expected.name && bytes == expected.bytes, "{}", place.name);
    }
    let error = checkpoint.load_into(&mut out[1..], &options).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn compressed_weights_decode_layer_by_layer() {
    let tensors = tensors();
    for device in devices() {
        let checkpoint = Arc::new(checkpoint(&tensors, Profile::Fast));
        let options = LoadOptions::default();
        let resident =
            ResidentCheckpoint::load(Arc::clone(&checkpoint), &device, &options).unwrap();
        let stream = device.stream().unwrap();
        let largest = tensors.iter().map(|tensor| tensor.bytes.len()).max().unwrap();
        let mut buffer = device.allocate(largest as u64).unwrap();
        for expected in &tensors {
            resident.decode_into(&expected.name, &mut buffer, &stream).unwrap();
            stream.synchronize().unwrap();
            let bytes = buffer.to_host().unwrap();
            assert!(bytes[..expected.bytes.len()] == expected.bytes, "{}", expected.name);
        }
        let layers: Vec<Vec<&str>> = tensors
            .chunks(7)
            .map(|some| some.iter().map(|tensor| &*tensor.name).collect())
            .collect();
        let mut stream_of_layers = resident.layers(&layers).unwrap();
        for turn in 0..2 * layers.len() {
            let layer = stream_of_layers.advance(&stream).unwrap();
            assert_eq!(layer.number(), turn % layers.len());
            stream.synchronize().unwrap();
            for tensor in layer.tensors() {
                let expected = tensors.iter().find(|known| known.name == tensor.name()).unwrap();
                assert!(layer.to_host(tensor).unwrap() == expected.bytes, "{}", tensor.name());
            }
        }
        let wrong = LoadOptions { tensors: vec!["no such tensor".into()], ..options.clone() };
        let refused = ResidentCheckpoint::load(Arc::clone(&checkpoint), &device, &wrong);
        assert_eq!(refused.map(|_| ()).unwrap_err().kind(), ErrorKind::NotFound);
        let missing = [vec!["no such tensor"]];
        assert_eq!(resident.layers(&missing).map(|_| ()).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
