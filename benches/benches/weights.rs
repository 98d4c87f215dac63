//! A tensor of Gaussian weights, for all benchmarks.

use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, EncodeOptions, encode_safetensors_bytes};
use wcodec_tests::{Pattern, Random, TestTensor, safetensors_file};

/// The tensor's name in its checkpoint.
pub(crate) const NAME: &str = "weight";

/// A tensor of Gaussian weights in both forms.
pub(crate) struct Weights {
    pub(crate) dtype: Dtype,
    /// The tensor as a `.safetensors` file.
    pub(crate) file: Vec<u8>,
    pub(crate) tensor_bytes: u64,
    pub(crate) checkpoint: Checkpoint,
}

impl Weights {
    /// Encodes the weights, and stops the benchmark where they don't come back exactly.
    pub(crate) fn new(dtype: Dtype, bytes: usize) -> Self {
        let elements = bytes as u64 * 8 / u64::from(dtype.bits().unwrap_or(8));
        let shape = if dtype == Dtype::F4 { [elements / 2] } else { [elements] };
        let random = &mut Random::new(7);
        let tensor = TestTensor::new(NAME, dtype.clone(), &shape, Pattern::Gaussian, random);
        let file = safetensors_file(std::slice::from_ref(&tensor)).expect("the file is valid");
        let (encoded, report) =
            encode_safetensors_bytes(&file, &EncodeOptions::default()).expect("encoding works");
        let checkpoint = Checkpoint::from_bytes(encoded).expect("the encoded file opens");
        let decoded = checkpoint.tensor(NAME).and_then(|tensor| tensor.decode());
        let decoded = decoded.expect("decoding works");
        assert!(decoded.as_bytes() == tensor.bytes, "{dtype} does not come back exactly");
        println!("{dtype}: {:.4} of the original size", 1.0 / report.compression_ratio());
        Self { dtype, file, tensor_bytes: tensor.bytes.len() as u64, checkpoint }
    }

    /// Decodes the tensor on the CPU.
    pub(crate) fn decode(&self, out: &mut [u8]) {
        let tensor = self.checkpoint.tensor(NAME).expect("it is there");
        tensor.decode_into(out).expect("decoding worked before");
    }
}

/// Bytes of each tensor: those that `WCODEC_BENCH_MIB` asks for, else `default_mebibytes`.
pub(crate) fn tensor_bytes(default_mebibytes: usize) -> usize {
    let mebibytes = match std::env::var("WCODEC_BENCH_MIB") {
        Ok(text) => text.parse().expect("WCODEC_BENCH_MIB is a number of MiB"),
        Err(_) => default_mebibytes,
    };
    mebibytes << 20
}
