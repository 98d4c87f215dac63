//! Batches hold every wanted byte once, wherever they are cut: what a GPU would do with them is done
//! here on the CPU.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::batches::{Piece, groups};
use super::*;
use crate::mapped::Reader;
use crate::safetensors::{Dtype, TensorData, build};
use crate::{Checkpoint, EncodeOptions, Error, encode_safetensors_bytes};

struct Original {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

fn originals() -> Vec<Original> {
    let mut random = SmallRng::seed_from_u64(5);
    let mut original = |name, dtype: Dtype, shape: &[u64]| {
        let bytes = shape.iter().product::<u64>() * u64::from(dtype.bits().unwrap_or(8)) / 8;
        // Exponents that repeat, so that there is something to code.
        let bytes = (0..bytes).map(|at| match at % 2 {
            0 => random.random(),
            _ => random.random_range(60..64),
        });
        Original { name, dtype, shape: shape.to_vec(), bytes: bytes.collect() }
    };
    vec![
        original("matrix", Dtype::BF16, &[61, 333]),
        original("norm", Dtype::F32, &[77]),
        original("cube", Dtype::F16, &[5, 7, 129]),
        original("packed", Dtype::F4, &[12, 64]),
        original("scalar", Dtype::F64, &[]),
        original("empty", Dtype::I8, &[0, 3]),
        original("long", Dtype::I8, &[40_003]),
    ]
}

fn checkpoint(originals: &[Original]) -> Checkpoint {
    let tensors: Vec<TensorData<'_>> = originals
        .iter()
        .map(|original| TensorData {
            name: original.name,
            dtype: original.dtype.clone(),
            shape: &original.shape,
            bytes: &original.bytes,
        })
        .collect();
    let options = EncodeOptions { block_elements: 1024, ..EncodeOptions::default() };
    let file = build(&tensors, &[]).unwrap();
    Checkpoint::from_bytes(encode_safetensors_bytes(&file, &options).unwrap().0).unwrap()
}

/// Reads batches as the pipeline does, and decodes their runs to where they say.
fn decode_batches(
    checkpoint: &Checkpoint,
    batches: &[Batch<'_>],
    total: u64,
    poison: u8,
) -> Vec<u8> {
    let reader: Reader<'_> = checkpoint.reader(false).unwrap();
    let mut output = vec![poison; total as usize];
    for batch in batches {
        let mut memory = vec![poison; batch.staged_bytes];
        for span in &batch.spans {
            assert_eq!(span.at as u64 % PAGE_BYTES as u64, span.offset % PAGE_BYTES as u64);
            reader.read(&mut memory, span.at, span.offset, span.bytes).unwrap();
            let mut at = span.at;
            for piece in &batch.pieces[span.pieces.clone()] {
                check_piece(piece, &memory[at..at + piece.bytes]);
                piece.runs.iter().for_each(|run| decode_run(piece, run, &mut output));
                at += piece.bytes;
            }
            assert_eq!(at, span.at + span.bytes);
        }
    }
    output
}

/// The bytes of its blocks are where each run says.
fn check_piece(piece: &Piece<'_>, bytes: &[u8]) {
    let tensor = piece.part.tensor;
    let chunk = tensor.chunk_bytes(piece.chunk).unwrap();
    if piece.check == Check::Read {
        assert_eq!(bytes, chunk);
    }
    let record = tensor.record();
    let chunks = record.chunks[..piece.chunk].iter();
    let first: usize = chunks.map(|chunk| chunk.blocks as usize).sum();
    for run in &piece.runs {
        let length = |blocks: &[crate::format::BlockRecord]| {
            blocks.iter().map(|block| block.bytes as usize).sum::<usize>()
        };
        let in_chunk = length(&record.blocks[first..run.blocks.start]);
        let run_bytes = length(&record.blocks[run.blocks.clone()]);
        assert_eq!(bytes[run.at..][..run_bytes], chunk[in_chunk..][..run_bytes]);
    }
}

fn decode_run(piece: &Piece<'_>, run: &Run<'_>, output: &mut [u8]) {
    let part = &piece.part;
    let range = part.bytes_of(&run.blocks);
    let mut decoded = vec![0; (range.end - range.start) as usize];
    part.tensor.decode_blocks(run.blocks.clone(), &mut decoded).unwrap();
    match run.place {
        Place::Direct(out) => output[out as usize..][..decoded.len()].copy_from_slice(&decoded),
        Place::Scratch(bytes) => {
            assert_eq!(bytes, (decoded.len() as u64).next_multiple_of(BLOCK_ALIGNMENT));
            let slice = &mut output[part.out as usize..][..part.rows.byte_len() as usize];
            part.rows.copy(&decoded, range.start, slice);
        }
    }
}

const ROOMY: Limits =
    Limits { staged_bytes: 1 << 20, piece_bytes: 1 << 20, blocks: 4096, decoded_bytes: 1 << 24 };
/// Less than any chunk here.
const TIGHT: Limits =
    Limits { staged_bytes: 28_000, piece_bytes: 28_000, blocks: 3, decoded_bytes: 9000 };

/// What each rank gets, by the batches under these limits and by the loader of the CPU.
fn assert_loads(checkpoint: &Checkpoint, options: &LoadOptions, limits: &Limits) {
    for checksums in [true, false] {
        let options = LoadOptions { checksums, ..options.clone() };
        let selection = Selection::new(checkpoint, &options).unwrap();
        let batches = batches(&selection.parts(), checksums, limits).unwrap();
        let wanted: u64 = batches.iter().map(Batch::wanted_bytes).sum();
        assert_eq!(wanted, selection.tensor_bytes());
        let count = batches.len();
        let batches = with_small_ones_last(batches, 3);
        assert!(batches.len() >= count);
        for batch in &batches {
            assert!(batch.staged_bytes <= limits.staged_bytes, "{}", batch.staged_bytes);
        }
        let mut expected = vec![9; selection.total as usize];
        checkpoint.load_into(&mut expected, &options).unwrap();
        assert_eq!(decode_batches(checkpoint, &batches, selection.total, 9), expected);
    }
}

#[test]
fn batches_of_any_size_hold_everything_once() {
    let checkpoint = checkpoint(&originals());
    for limits in [ROOMY, TIGHT] {
        assert_loads(&checkpoint, &LoadOptions::default(), &limits);
        for (rank, count) in [(0, 1), (0, 2), (1, 2), (2, 3), (6, 7)] {
            for dimension in 0..3 {
                let shard = Shard::new(rank, count).along("[!p]*", dimension).along("packed", 0);
                let options = LoadOptions { shard: Some(shard), ..LoadOptions::default() };
                assert_loads(&checkpoint, &options, &limits);
            }
        }
    }
}

/// The slice of `original` that a rank is to get, element by element.
fn sliced(original: &Original, dimension: usize, rank: u64, count: u64) -> Vec<u8> {
    let Some(&length) = original.shape.get(dimension) else { return original.bytes.clone() };
    let wanted = rank * length / count..(rank + 1) * length / count;
    let inner: u64 = original.shape[dimension + 1..].iter().product();
    let width = u64::from(original.dtype.bits().unwrap()) / 8;
    let elements = original.bytes.chunks(width as usize).enumerate();
    let is_wanted = |at: usize| wanted.contains(&(at as u64 / inner % length));
    elements.filter(|(at, _)| is_wanted(*at)).flat_map(|(_, bytes)| bytes.to_vec()).collect()
}

#[test]
fn slices_are_those_of_the_elements() {
    let originals = originals();
    let checkpoint = checkpoint(&originals);
    for dimension in 0..3 {
        for count in [1, 2, 3, 8] {
            for rank in 0..count {
                let shard = Shard::new(rank, count).along("[!p]*", dimension);
                let options = LoadOptions { shard: Some(shard), ..LoadOptions::default() };
                let loaded = checkpoint.load(&crate::Device::cpu(), &options).unwrap();
                for original in originals.iter().filter(|original| original.name != "packed") {
                    let tensor = loaded.tensor(original.name).unwrap();
                    let expected = sliced(original, dimension, rank as u64, count as u64);
                    assert!(tensor.as_bytes().unwrap() == expected, "{tensor:?} of {count}");
                    let elements: u64 = tensor.shape().iter().product();
                    let bits = u64::from(original.dtype.bits().unwrap());
                    assert_eq!(elements * bits / 8, tensor.byte_len());
                }
            }
        }
    }
}

#[test]
fn a_slice_within_a_byte_is_refused() {
    let checkpoint = checkpoint(&originals());
    let shard = Shard::new(1, 128).along("packed", 1);
    let options = LoadOptions { shard: Some(shard), ..LoadOptions::default() };
    let error = checkpoint.load_layout(&options).unwrap_err();
    // Of 64 elements of four bits, it is to have the first.
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
}

#[test]
fn names_and_patterns_choose_tensors_in_the_order_of_the_file() {
    let checkpoint = checkpoint(&originals());
    let names = |wanted: &[&str]| -> Result<Vec<String>, Error> {
        let tensors = wanted.iter().map(|&name| name.to_owned()).collect();
        let options = LoadOptions { tensors, ..LoadOptions::default() };
        let layout = checkpoint.load_layout(&options)?;
        Ok(layout.tensors.into_iter().map(|tensor| tensor.name).collect())
    };
    assert_eq!(names(&[]).unwrap().len(), 7);
    assert_eq!(names(&["long", "norm"]).unwrap(), ["norm", "long"]);
    assert_eq!(names(&["*r*", "norm", "n?rm"]).unwrap(), ["matrix", "norm", "scalar"]);
    assert!(matches!(names(&["mat"]), Err(Error::NotFound { .. })));
    assert!(matches!(names(&["x*"]), Err(Error::NotFound { .. })));
    assert!(matches!(names(&["[x"]), Err(Error::InvalidArgument { .. })));
}

#[test]
fn a_rank_that_is_not_there_is_refused() {
    let checkpoint = checkpoint(&originals());
    for (rank, count) in [(2, 2), (0, 0)] {
        let shard = Some(Shard::new(rank, count).along("*", 0));
        let options = LoadOptions { shard, ..LoadOptions::default() };
        assert!(matches!(checkpoint.load_layout(&options), Err(Error::InvalidArgument { .. })));
    }
}

#[test]
fn groups_of_small_tensors_hold_everything_once() {
    let bytes: Vec<u8> = (0..40).collect();
    let names: Vec<String> = (0..1000).map(|number| format!("layers.{number}.bias")).collect();
    let tensors =
        names.iter().map(|name| TensorData { name, dtype: Dtype::I8, shape: &[40], bytes: &bytes });
    let file = build(&tensors.collect::<Vec<_>>(), &[]).unwrap();
    let options = EncodeOptions::default();
    let encoded = encode_safetensors_bytes(&file, &options).unwrap().0;
    let checkpoint = Checkpoint::from_bytes(encoded).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| assert_loads(&checkpoint, &LoadOptions::default(), &ROOMY));
    }
}

#[test]
fn groups_are_all_parts_in_their_order() {
    let checkpoint = checkpoint(&originals());
    let selection = Selection::new(&checkpoint, &LoadOptions::default()).unwrap();
    let few = selection.parts();
    // With the blocks of these, more than one group is worth it.
    let many: Vec<Part<'_>> = few.iter().cycle().take(700).copied().collect();
    for (parts, count) in [(&few[..0], 3), (&few[..], 3), (&many[..], 1), (&many[..], 4)] {
        let groups = groups(parts, count);
        let numbers = |parts: &[Part<'_>]| -> Vec<usize> {
            parts.iter().map(|part| part.tensor.number()).collect()
        };
        assert_eq!(numbers(&groups.concat()), numbers(parts));
        // The last one is what is left.
        assert!(groups.len() <= count + 1, "{} of {count}", groups.len());
        assert!(parts.len() < 700 || groups.len() > count / 2, "{} of {count}", groups.len());
    }
}
