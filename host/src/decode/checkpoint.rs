//! Reading a `.wcodec` file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blocks::{BlockDecoder, Destination};
use super::tensor::Tensor;
use super::validate::validate;
use crate::base::Base;
use crate::error::{Error, Result, quoted};
use crate::format::{ChunkRecord, Envelope, Index, TensorRecord, decode_index};
use crate::gpu::{Decoder, TableCache};
use crate::hash::{hex, xxh3};
use crate::mapped::{MappedFile, Reader};
use crate::spares::Spares;

/// An open `.wcodec` file. Cheap to share between threads; decoding runs on the current rayon
/// pool.
pub struct Checkpoint {
    storage: Storage,
    path: PathBuf,
    format_version: u32,
    pub(crate) index: Index,
    by_name: HashMap<String, usize>,
    /// Where the payload section begins.
    payload_start: u64,
    /// For each tensor, where each of its chunks begins: block number and payload offset.
    chunk_starts: Vec<Vec<ChunkStart>>,
    /// What restores and verifies; without one the CPU does.
    decoder: Option<Arc<Decoder>>,
    /// What blocks with a reference need; checked when it was given.
    base: Option<Arc<Base>>,
    /// Whether the SHA-256 of the original is compared when the file is restored or verified.
    compares_sha256: bool,
    /// Tables and buffers that no thread is using at the moment.
    pub(super) block_decoders: Spares<BlockDecoder>,
    /// Tables as the GPU's kernels take them.
    pub(crate) kernel_tables: TableCache,
}

enum Storage {
    Mapped(MappedFile),
    Owned(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkStart {
    pub(super) block: usize,
    /// Offset in the file.
    pub(super) offset: u64,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint")
            .field("path", &self.path)
            .field("tensors", &self.index.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a file: reads and checks all but the payload, which is mapped and read when needed.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is cut off or damaged outside its payload, or was written by
    /// a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mapped = MappedFile::open(path)?;
        // The index is, and what is said only after it comes too late for the rest.
        mapped.expect_all();
        let checkpoint = Self::read(Storage::Mapped(mapped), path)?;
        checkpoint.storage.expect_parts();
        Ok(checkpoint)
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::read(Storage::Owned(bytes), Path::new("<memory>"))
    }

    fn read(storage: Storage, path: &Path) -> Result<Self> {
        let (envelope, index) = storage.checked(Self::read_index(storage.bytes(), path))?;
        let by_name = index.tensors.iter().enumerate().map(|(n, t)| (t.name.clone(), n)).collect();
        let chunk_starts =
            index.tensors.iter().map(|t| chunk_starts(t, envelope.alignment)).collect();
        Ok(Self {
            storage,
            path: path.to_owned(),
            format_version: envelope.version,
            index,
            by_name,
            payload_start: envelope.alignment,
            chunk_starts,
            decoder: None,
            base: None,
            compares_sha256: true,
            block_decoders: Spares::default(),
            kernel_tables: TableCache::default(),
        })
    }

    fn read_index(file: &[u8], path: &Path) -> Result<(Envelope, Index)> {
        let envelope = Envelope::read(file, path)?;
        let footer = envelope.footer;
        let index = &file[footer.index_offset as usize..][..footer.index_bytes as usize];
        let found = xxh3(index);
        if found != footer.index_xxh3 {
            return Err(mismatch(path.display(), "the index", footer.index_xxh3, found));
        }
        let index = decode_index(index, &footer, path)?;
        validate(&index, &footer, path)?;
        Ok((envelope, index))
    }

    /// All of the file is going to be read.
    pub(super) fn expect_all(&self) {
        self.storage.expect_all();
    }

    /// `result`, if all of the file that was asked for could be read so far.
    pub(crate) fn checked<T>(&self, result: Result<T>) -> Result<T> {
        self.storage.checked(result)
    }

    /// Lets `decoder` do the decoding when the file is restored or verified.
    #[must_use]
    pub fn with_decoder(mut self, decoder: Arc<Decoder>) -> Self {
        self.decoder = Some(decoder);
        self
    }

    /// Leaves the SHA-256 of the original out when the file is restored or verified. It is computed by one
    /// thread, so that with many others everything waits for it; the checksums of chunks and tensors
    /// are compared all the same, and with them every byte.
    #[must_use]
    pub fn without_sha256(mut self) -> Self {
        self.compares_sha256 = false;
        self
    }

    /// Gives the checkpoint that this one is stored against. A file that needs none takes any;
    /// [`Checkpoint::base_sha256`] says which one is needed.
    ///
    /// # Errors
    ///
    /// [`Error::WrongBase`] when it is another one, by its length and SHA-256.
    pub fn with_base(mut self, base: Arc<Base>) -> Result<Self> {
        let Some(needed) = self.index.base else { return Ok(self) };
        if (needed.bytes, needed.sha256) != (base.byte_len(), base.sha256()) {
            return Err(Error::WrongBase {
                path: self.path,
                base: base.path().to_owned(),
                expected: hex(&needed.sha256),
                actual: hex(&base.sha256()),
            });
        }
        self.base = Some(base);
        self.check_base_tensors()?;
        Ok(self)
    }

    /// The base that was given.
    pub(crate) fn base(&self) -> Option<&Base> {
        self.base.as_deref()
    }

    fn check_base_tensors(&self) -> Result<()> {
        let lacks_base =
            |tensor: &Tensor<'_>| tensor.record().needs_base() && tensor.base_bytes().is_none();
        match self.tensors().find(lacks_base) {
            None => Ok(()),
            Some(tensor) => Err(Error::Corrupt {
                what: self.path.display().to_string(),
                location: format!("tensor {}", quoted(tensor.name())),
                detail: "its base has no tensor with this name, dtype and shape".into(),
            }),
        }
    }

    /// SHA-256 of the `.safetensors` file that this one is stored against, if it is.
    pub fn base_sha256(&self) -> Option<[u8; 32]> {
        self.index.base.map(|base| base.sha256)
    }

    /// Fails early where a base is needed and has not been given.
    pub(crate) fn require_base(&self) -> Result<()> {
        match self.index.base {
            Some(needed) if self.base.is_none() => {
                Err(Error::MissingBase { path: self.path.clone(), sha256: hex(&needed.sha256) })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn decoder(&self) -> Option<&Decoder> {
        self.decoder.as_deref()
    }

    /// The path that the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Version of the format that the file is written in.
    pub fn format_version(&self) -> u32 {
        self.format_version
    }

    /// Length of the `.wcodec` file.
    pub fn encoded_bytes(&self) -> u64 {
        self.storage.bytes().len() as u64
    }

    /// Length of the original file.
    pub fn original_bytes(&self) -> u64 {
        self.index.original_bytes
    }

    /// SHA-256 of the original file, as stored; [`Checkpoint::verify`] checks it. A file encoded
    /// without [`crate::EncodeOptions::sha256`] has none.
    pub fn original_sha256(&self) -> Option<[u8; 32]> {
        self.index.original_sha256
    }

    /// The same, if it is to be compared.
    pub(super) fn compared_sha256(&self) -> Option<[u8; 32]> {
        self.original_sha256().filter(|_| self.compares_sha256)
    }

    /// The original file up to its tensors' bytes: header length and JSON.
    pub fn original_header(&self) -> &[u8] {
        &self.index.header
    }

    /// What reads the file beside its mapping; see [`Reader`].
    pub(crate) fn reader(&self, direct: bool) -> Result<Reader<'_>> {
        match &self.storage {
            Storage::Mapped(file) => file.reader(direct),
            Storage::Owned(bytes) => Ok(Reader::of_bytes(bytes)),
        }
    }

    /// The bytes of all blocks; a zero where there are none, since device memory has a first byte.
    pub(crate) fn payload_or_zero(&self) -> &[u8] {
        let bytes = |tensor: &TensorRecord| tensor.chunks.iter().map(|c| c.bytes).sum::<u64>();
        let end = self.index.tensors.iter().map(bytes).sum::<u64>().max(1);
        &self.storage.bytes()[self.payload_start as usize..][..end as usize]
    }

    /// Where each chunk of a tensor begins.
    pub(super) fn chunk_starts(&self, tensor: usize) -> &[ChunkStart] {
        &self.chunk_starts[tensor]
    }

    /// All bytes of the file.
    pub(super) fn file(&self) -> &[u8] {
        self.storage.bytes()
    }

    /// Frequency tables of the file.
    pub fn table_count(&self) -> usize {
        self.index.tables.len()
    }

    /// All tensors, in the order of their bytes in the original file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        (0..self.index.tensors.len()).map(|number| Tensor::new(self, number))
    }

    /// Bytes of all tensors together.
    pub fn tensor_bytes(&self) -> u64 {
        // They add up to the original: the index was validated.
        self.index.original_bytes - self.index.header.len() as u64
    }

    /// Decodes all tensors into `out`, one after the other as in the original file. It has
    /// [`Checkpoint::tensor_bytes`]. Fastest into memory that has been written to before: what is more than a cache
    /// holds may be written past it.
    ///
    /// # Errors
    ///
    /// When `out` has another length, or the file is damaged; what `out` holds then is unspecified.
    pub fn decode_all_into(&self, out: &mut [u8]) -> Result<()> {
        if out.len() as u64 != self.tensor_bytes() {
            return Err(Error::InvalidArgument {
                what: format!("an output of {} bytes", out.len()),
                detail: format!(
                    "the tensors of {} have {} bytes; give exactly as many",
                    self.path.display(),
                    self.tensor_bytes()
                ),
            });
        }
        self.expect_all();
        let mut rest = out;
        let tensors = self.tensors().map(|tensor| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(tensor.byte_len() as usize);
            rest = later;
            (tensor, now)
        });
        self.decode_tensors(tensors, Destination::Memory)
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    ///
    /// When there is none; the error suggests similar names.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        match self.by_name.get(name) {
            Some(&number) => Ok(Tensor::new(self, number)),
            None => Err(Error::tensor_not_found(
                &self.path,
                name,
                self.index.tensors.iter().map(|tensor| tensor.name.as_str()),
            )),
        }
    }
}

impl Storage {
    /// All of it is going to be read.
    fn expect_all(&self) {
        if let Self::Mapped(file) = self {
            file.expect_all();
        }
    }

    /// Which parts of it are going to be read is not known.
    fn expect_parts(&self) {
        if let Self::Mapped(file) = self {
            file.expect_parts();
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file.bytes(),
            Self::Owned(bytes) => bytes,
        }
    }

    fn checked<T>(&self, result: Result<T>) -> Result<T> {
        match self {
            Self::Mapped(file) => file.checked(result),
            Self::Owned(_) => result,
        }
    }
}

fn chunk_starts(tensor: &TensorRecord, payload_start: u64) -> Vec<ChunkStart> {
    let mut start = ChunkStart { block: 0, offset: payload_start + tensor.payload_offset };
    let advance = |chunk: &ChunkRecord| {
        let this = start;
        start.block += chunk.blocks as usize;
        start.offset += chunk.bytes;
        this
    };
    tensor.chunks.iter().map(advance).collect()
}

/// What says that a checksum is another than the index has.
pub(super) fn mismatch(what: impl ToString, location: &str, expected: u64, actual: u64) -> Error {
    Error::ChecksumMismatch {
        what: what.to_string(),
        location: location.to_owned(),
        expected: format!("{expected:016x}"),
        actual: format!("{actual:016x}"),
    }
}
