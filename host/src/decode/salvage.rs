//! What is intact of a damaged file.

use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::restore::RestoreOptions;
use super::tensor::Tensor;
use crate::error::{Error, Result};
use crate::hash::{Sha256, of_blocks};
use crate::output::{AtomicFile, ensure_apart};

/// Decoded bytes that are in memory at a time.
const RUN_BYTES: usize = 16 << 20;

/// What could not be read of a file.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Bytes of the original file, all written.
    pub original_bytes: u64,
    /// What zeros stand for, in the order of the file; empty if nothing is lost.
    pub lost: Vec<LostRange>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Bytes of a tensor that are lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostRange {
    /// The tensor's name.
    pub tensor: String,
    /// Where in the tensor's bytes the range begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl SalvageReport {
    /// Bytes that zeros stand for.
    pub fn lost_bytes(&self) -> u64 {
        self.lost.iter().map(|range| range.end - range.start).sum()
    }
}

impl Checkpoint {
    /// Writes the original file to `output` with zeros where this file is damaged: every tensor is
    /// where it belongs, and each byte is that of the original or listed in the report. What is
    /// lost at a time is a chunk, about 1 MiB of this file. Decodes on the CPU.
    ///
    /// The output appears under its name when it is complete. The index, at the end of the file,
    /// has to be intact, or the file cannot be opened at all.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::restore`], but for damaged blocks.
    pub fn salvage(
        &self,
        output: impl AsRef<Path>,
        options: &RestoreOptions,
    ) -> Result<SalvageReport> {
        let (start, output) = (Instant::now(), output.as_ref());
        ensure_apart(self.path(), output)?;
        if let Some(progress) = &options.progress {
            progress.start(self.original_bytes());
        }
        let mut salvage = Salvage {
            file: AtomicFile::create(output, options.overwrite)?,
            hash: self.compared_sha256().map(|expected| (Sha256::default(), expected)),
            lost: Vec::new(),
            options,
        };
        salvage.write(self.original_header())?;
        let mut position = self.original_header().len() as u64;
        for tensor in self.tensors() {
            salvage.tensor(&tensor, position)?;
            position += tensor.byte_len();
        }
        let Salvage { file, hash, lost, .. } = salvage;
        match hash {
            Some((hash, expected)) if lost.is_empty() => {
                self.check_whole(&hash.finalize(), expected)?;
            }
            _ => {}
        }
        self.checked(Ok(()))?;
        file.commit()?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(SalvageReport { original_bytes: self.original_bytes(), lost, seconds })
    }
}

/// A salvage under way.
struct Salvage<'a> {
    file: AtomicFile,
    /// The SHA-256 of what has been written, and what it is to be.
    hash: Option<(Sha256, [u8; 32])>,
    lost: Vec<LostRange>,
    options: &'a RestoreOptions,
}

impl Salvage<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some((hash, _)) = &mut self.hash {
            hash.update(bytes);
        }
        self.file.append(bytes)?;
        if let Some(progress) = &self.options.progress {
            progress.advance(bytes.len() as u64);
        }
        Ok(())
    }

    /// Writes a tensor, which begins at `position` of the output.
    fn tensor(&mut self, tensor: &Tensor<'_>, position: u64) -> Result<()> {
        let (block_bytes, count) = (tensor.block_bytes(), tensor.record().blocks.len());
        let step = (RUN_BYTES / block_bytes).max(1);
        let lost_before = self.lost.len();
        let mut checksums = Vec::with_capacity(count);
        for first in (0..count).step_by(step) {
            let blocks = first..(first + step).min(count);
            let start = (first * block_bytes) as u64;
            let end = ((blocks.end * block_bytes) as u64).min(tensor.byte_len());
            let mut bytes = vec![0; (end - start) as usize];
            match tensor.decode_blocks(blocks.clone(), &mut bytes) {
                Ok(found) => checksums.extend(found),
                Err(_) => self.run_by_chunks(tensor, blocks, &mut bytes),
            }
            self.write(&bytes)?;
        }
        // Where something is lost already, the checksum of the whole says nothing more.
        if self.lost.len() == lost_before && of_blocks(&checksums) != tensor.record().xxh3 {
            self.lose_all(tensor, position)?;
        }
        Ok(())
    }

    /// Decodes the chunks of a run one by one; those that are damaged become zeros.
    fn run_by_chunks(&mut self, tensor: &Tensor<'_>, run: Range<usize>, bytes: &mut [u8]) {
        let block_bytes = tensor.block_bytes();
        let run_start = run.start * block_bytes;
        let mut first = 0;
        for chunk in &tensor.record().chunks {
            let all = first..first + chunk.blocks as usize;
            first = all.end;
            let blocks = all.start.max(run.start)..all.end.min(run.end);
            if blocks.is_empty() {
                continue;
            }
            let start = blocks.start * block_bytes - run_start;
            let end = (blocks.end * block_bytes - run_start).min(bytes.len());
            if let Err(error) = tensor.decode_blocks(blocks, &mut bytes[start..end]) {
                bytes[start..end].fill(0);
                let place = (run_start + start) as u64..(run_start + end) as u64;
                self.lose(tensor, place, error.to_string());
            }
        }
    }

    fn lose(&mut self, tensor: &Tensor<'_>, place: Range<u64>, reason: String) {
        match self.lost.last_mut() {
            // A chunk that several runs share.
            Some(last) if last.tensor == tensor.name() && last.reason == reason => {
                last.end = place.end;
            }
            _ => self.lost.push(LostRange {
                tensor: tensor.name().to_owned(),
                start: place.start,
                end: place.end,
                reason,
            }),
        }
    }

    /// Overwrites a tensor with zeros: its chunks are as they were written, and yet it is not what
    /// its checksum says.
    fn lose_all(&mut self, tensor: &Tensor<'_>, position: u64) -> Result<()> {
        let failed = |error| Error::io("write", self.file.target(), error);
        let mut file = self.file.as_file();
        file.seek(SeekFrom::Start(position)).map_err(failed)?;
        let zeros = vec![0; RUN_BYTES.min(tensor.byte_len() as usize)];
        let mut left = tensor.byte_len() as usize;
        while left > 0 {
            let now = left.min(zeros.len());
            file.write_all(&zeros[..now]).map_err(failed)?;
            left -= now;
        }
        let reason = "its decoded bytes have another checksum".to_owned();
        self.lose(tensor, 0..tensor.byte_len(), reason);
        Ok(())
    }
}
