//! What an encode did.

use serde::Serialize;

use crate::safetensors::Dtype;

/// The result of encoding one checkpoint.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct EncodeReport {
    /// Bytes of the original file.
    pub original_bytes: u64,
    /// Bytes of the `.wcodec` file.
    pub encoded_bytes: u64,
    /// SHA-256 of the original file, where it was computed.
    #[serde(serialize_with = "as_hex")]
    pub original_sha256: Option<[u8; 32]>,
    /// Seconds that it took.
    pub seconds: f64,
    /// One entry per tensor, in file order.
    pub tensors: Vec<TensorReport>,
}

impl EncodeReport {
    /// Original bytes over encoded bytes, whole file.
    pub fn compression_ratio(&self) -> f64 {
        self.original_bytes as f64 / self.encoded_bytes as f64
    }
}

/// What became of one tensor.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TensorReport {
    /// The tensor's name.
    pub name: String,
    /// Type of its elements.
    #[serde(serialize_with = "as_name")]
    pub dtype: Dtype,
    /// Bytes in the original file.
    pub original_bytes: u64,
    /// Bytes of its blocks.
    pub encoded_bytes: u64,
}

fn as_hex<S: serde::Serializer>(
    bytes: &Option<[u8; 32]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    bytes.map(|bytes| crate::hash::hex(&bytes)).serialize(serializer)
}

fn as_name<S: serde::Serializer>(dtype: &Dtype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}
