//! The rules of the `.safetensors` format, as the ways to break them.

use crate::error::{clipped, quoted};

/// What makes a file an invalid `.safetensors` file.
///
/// The `Display` form completes the sentence "this file is invalid: ...".
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SafetensorsProblem {
    /// There is no room for the 8 bytes that hold the header's length.
    #[error("it has {file_len} bytes, fewer than the 8 of the header length")]
    FileTooShort {
        /// Bytes of the file.
        file_len: u64,
    },

    /// The file is the small text that git keeps in place of a large file.
    #[error("it is a Git LFS pointer, not the file it stands for")]
    GitLfsPointer,

    /// The header's length exceeds [`super::MAX_HEADER_BYTES`].
    #[error("its header claims {header_len} bytes, more than the {limit} that the format allows")]
    HeaderTooLong {
        /// Claimed bytes of the header.
        header_len: u64,
        /// The most that is read.
        limit: u64,
    },

    /// The header ends after the file does.
    #[error(
        "its header claims {header_len} bytes, and the file has {available} after the header length"
    )]
    HeaderBeyondFile {
        /// Claimed bytes of the header.
        header_len: u64,
        /// Bytes of the file after the header length.
        available: u64,
    },

    /// The header is not text.
    #[error("its header is not UTF-8 from byte {offset} of the file on")]
    HeaderNotUtf8 {
        /// Where the first wrong byte lies in the file.
        offset: u64,
    },

    /// The header does not start with an opening brace.
    #[error("its header does not start with an opening brace")]
    HeaderNotObject,

    /// The header is not JSON, or not of the form that the format asks for.
    #[error("its header is not the expected JSON: {}", clipped(detail))]
    HeaderNotJson {
        /// The JSON parser's message.
        detail: String,
    },

    /// A name occurs twice, so that readers would disagree about which one counts.
    #[error("the name {} occurs twice in its header", quoted(name))]
    DuplicateName {
        /// The repeated name, of a tensor or of an entry of the metadata.
        name: String,
    },

    /// A tensor's name exceeds [`super::MAX_NAME_BYTES`].
    #[error(
        "the tensor name starting with {} has {name_len} bytes, more than {limit}",
        quoted(name)
    )]
    NameTooLong {
        /// The name.
        name: String,
        /// Its bytes.
        name_len: usize,
        /// The most that is read.
        limit: usize,
    },

    /// An element type's name exceeds [`super::MAX_DTYPE_NAME_BYTES`].
    #[error(
        "the dtype of tensor {} has a name of {name_len} bytes, more than {limit}",
        quoted(tensor)
    )]
    DtypeNameTooLong {
        /// The tensor.
        tensor: String,
        /// Bytes of the type's name.
        name_len: usize,
        /// The most that is read.
        limit: usize,
    },

    /// A shape has more dimensions than [`super::MAX_DIMENSIONS`].
    #[error("tensor {} has more than {limit} dimensions", quoted(tensor))]
    TooManyDimensions {
        /// The tensor.
        tensor: String,
        /// The most that is read.
        limit: usize,
    },

    /// A tensor ends before it starts.
    #[error("tensor {} ends at {end}, before its start at {start}", quoted(tensor))]
    OffsetsReversed {
        /// The tensor.
        tensor: String,
        /// Its first byte, counted from the start of the data.
        start: u64,
        /// The byte after its last one.
        end: u64,
    },

    /// A shape has more elements than can be counted.
    #[error("the size of tensor {} with shape {shape:?} overflows 64 bits", quoted(tensor))]
    ShapeOverflow {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
    },

    /// Elements smaller than a byte don't fill the last byte.
    #[error(
        "tensor {} of dtype {dtype} with shape {shape:?} does not fill whole bytes",
        quoted(tensor)
    )]
    PartialByte {
        /// The tensor.
        tensor: String,
        /// Name of its element type.
        dtype: String,
        /// Its shape.
        shape: Vec<u64>,
    },

    /// Shape and element type call for another number of bytes than the offsets give.
    #[error(
        "tensor {} of dtype {dtype} with shape {shape:?} needs {expected} bytes, and its offsets give it {actual}",
        quoted(tensor)
    )]
    SizeMismatch {
        /// The tensor.
        tensor: String,
        /// Name of its element type.
        dtype: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Bytes by shape and type.
        expected: u64,
        /// Bytes by offsets.
        actual: u64,
    },

    /// A tensor ends after the file does.
    #[error(
        "tensor {} ends at byte {end} of the data, and the file has {available}",
        quoted(tensor)
    )]
    TensorBeyondFile {
        /// The tensor.
        tensor: String,
        /// The byte after its last one, counted from the start of the data.
        end: u64,
        /// Bytes of data that the file has.
        available: u64,
    },

    /// Two tensors claim the same bytes, or an empty tensor lies inside another.
    #[error("tensors {} and {} overlap", quoted(first), quoted(second))]
    Overlap {
        /// The tensor that starts earlier.
        first: String,
        /// The tensor that starts inside it.
        second: String,
    },

    /// Bytes before a tensor belong to none.
    #[error("{bytes} byte(s) before tensor {} belong to no tensor", quoted(tensor))]
    Hole {
        /// The tensor after the hole.
        tensor: String,
        /// Size of the hole.
        bytes: u64,
    },

    /// Bytes after the last tensor belong to none.
    #[error("its last {bytes} byte(s) belong to no tensor")]
    TrailingBytes {
        /// How many.
        bytes: u64,
    },
}

impl SafetensorsProblem {
    /// Whether the file looks like the beginning of a good one.
    pub(crate) fn is_truncation(&self) -> bool {
        matches!(
            self,
            Self::FileTooShort { .. }
                | Self::HeaderBeyondFile { .. }
                | Self::TensorBeyondFile { .. }
        )
    }

    /// What to do about it, as the second half of a sentence.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::GitLfsPointer => "fetch the file with `git lfs pull`",
            Self::HeaderTooLong { .. } | Self::HeaderNotUtf8 { .. } | Self::HeaderNotObject => {
                "check that it is a .safetensors file, and download or copy it again"
            }
            problem if problem.is_truncation() => "download or copy it again",
            _ => "save it again with a current safetensors library",
        }
    }
}
