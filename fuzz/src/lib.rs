//! What the fuzz targets share: choices read from the fuzzer's bytes, and a limit on memory.

mod choices;

pub use choices::Choices;
pub use wcodec_tests::LimitedAllocator;

/// The most memory that may be in use at a time. Inputs are a few KiB, so it stands for what a
/// reader may take above a file's size. The fuzzer itself, which is C++, is not counted.
pub const LIMIT_BYTES: usize = 64 << 20;

use wcodec::Checkpoint;

/// Original bytes beyond which a file that was made up is not decoded: it may be right about
/// constant tensors of terabytes, which only take time.
const MOST_DECODED_BYTES: u64 = 1 << 20;

/// Makes the fuzzer's thread the only one that computes: its own coverage counts, and no time goes
/// into waking others.
pub fn compute_on_this_thread() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    // Later calls find the pool there.
    let _ = pool.build_global();
}

/// Reads all that can be read of an opened file, in every way; none may panic, and all have to
/// agree whether the file is good. Returns the original file.
pub fn read_everything(checkpoint: &Checkpoint) -> Option<Vec<u8>> {
    if checkpoint.original_bytes() > MOST_DECODED_BYTES {
        return None;
    }
    let mut decoded = checkpoint.original_header().to_vec();
    let mut all_decode = true;
    for tensor in checkpoint.tensors() {
        assert_eq!(
            checkpoint.tensor(tensor.name()).map(|found| found.byte_len()).ok(),
            Some(tensor.byte_len())
        );
        let (_, _) = (tensor.plans(), tensor.encoded_bytes());
        let whole = tensor.decode();
        let count = tensor.byte_len() / tensor.element_bytes();
        let half = tensor.decode_range(count / 2..count);
        match whole {
            Err(_) => all_decode = false,
            Ok(whole) => {
                // A whole tensor's checksum is right, so are its chunks' unless they were forged.
                if let Ok(half) = half {
                    let skipped = whole.as_bytes().len() - half.as_bytes().len();
                    assert!(
                        half.as_bytes() == &whole.as_bytes()[skipped..],
                        "{} differs",
                        tensor.name()
                    );
                }
                decoded.extend_from_slice(whole.as_bytes());
            }
        }
    }
    let restored = checkpoint.restore_bytes();
    assert_eq!(restored.is_ok(), checkpoint.verify(None).is_ok());
    let restored = restored.ok()?;
    assert!(all_decode, "a tensor of a good file does not decode");
    assert!(restored == decoded, "the tensors are not those of the file");
    Some(restored)
}
