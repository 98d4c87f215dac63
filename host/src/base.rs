//! The checkpoint that others are stored against.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::decode::Checkpoint;
use crate::error::Result;
use crate::format::FileHeader;
use crate::hash::sha256;
use crate::mapped::MappedFile;
use crate::safetensors::{self, Dtype, Header};

/// A checkpoint that another one is stored against, such as the one that it was tuned from: what is
/// stored of a tensor with the same name, dtype and shape in both is how it differs.
///
/// Decoding takes the very file that was there when encoding, known by its SHA-256.
pub struct Base {
    storage: Storage,
    path: PathBuf,
    header: Header,
    /// Positions in `header.tensors`.
    by_name: HashMap<String, usize>,
    sha256: [u8; 32],
}

enum Storage {
    Mapped(MappedFile),
    Owned(Vec<u8>),
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Base {
    /// Opens a `.safetensors` file, which is mapped, or a `.wcodec` file, which is decoded into memory
    /// and stands for its original. Either is read once for its SHA-256.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is damaged, or is itself stored against a base.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mapped = MappedFile::open(path)?;
        if FileHeader::begins(mapped.bytes()) {
            drop(mapped);
            return Self::new(Storage::Owned(Checkpoint::open(path)?.restore_bytes()?), path);
        }
        mapped.expect_all();
        Self::new(Storage::Mapped(mapped), path)
    }

    /// The same for a `.safetensors` file in memory.
    ///
    /// # Errors
    ///
    /// When it is no valid `.safetensors` file.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::new(Storage::Owned(bytes), Path::new("<memory>"))
    }

    fn new(storage: Storage, path: &Path) -> Result<Self> {
        let header = safetensors::parse(storage.bytes(), path)?;
        let names = header.tensors.iter().enumerate();
        let by_name = names.map(|(number, tensor)| (tensor.name.clone(), number)).collect();
        let sha256 = sha256(storage.bytes());
        Ok(Self { storage, path: path.to_owned(), header, by_name, sha256 })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the `.safetensors` file.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Length of the `.safetensors` file.
    pub fn byte_len(&self) -> u64 {
        self.storage.bytes().len() as u64
    }

    /// The bytes of the tensor with this name, if it has this dtype and shape too.
    pub(crate) fn tensor(&self, name: &str, dtype: &Dtype, shape: &[u64]) -> Option<&[u8]> {
        let entry = &self.header.tensors[*self.by_name.get(name)?];
        let is_alike = entry.dtype == *dtype && entry.shape == shape;
        entry.bytes(self.storage.bytes()).filter(|_| is_alike)
    }
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file.bytes(),
            Self::Owned(bytes) => bytes,
        }
    }
}
