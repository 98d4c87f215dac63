//! How a checkpoint is encoded.

use std::sync::Arc;

use codec::constants::{MAX_BLOCK_ELEMENTS, MIN_BLOCK_ELEMENTS};

use super::profile::Profile;
use crate::base::Base;
use crate::error::{Error, Result};
use crate::format::{MIN_SECTION_ALIGNMENT, SECTION_ALIGNMENT};
use crate::progress::Progress;

/// How to encode.
#[derive(Clone)]
pub struct EncodeOptions {
    /// What to optimise for.
    pub profile: Profile,
    /// Elements of a block, the unit of random access: a multiple of 1024 up to 131072.
    pub block_elements: usize,
    /// rANS states per lane, 1 or 2: 2 decodes faster and takes 64 bytes a block more.
    pub states_per_lane: usize,
    /// What part of a tensor's bits two elements per symbol may cost more than one, 0 to 1: they decode
    /// at up to twice the speed.
    pub pair_tolerance: f64,
    /// What payload and index start at multiples of: a power of two from 64, which saves some KB of a
    /// small file, to 4096, which suits mapped and direct reads.
    pub section_alignment: usize,
    /// Whether to store the SHA-256 of the original, which is checked when it is restored. Off, what
    /// is decoded is still compared with the checksum of each tensor; on, encoding can't be faster
    /// than one processor computes the hash.
    pub sha256: bool,
    /// The checkpoint to store this one against, which decoding then needs too: tensors of the same
    /// name, dtype and shape, where it makes them smaller.
    pub base: Option<Arc<Base>>,
    /// Whether an existing output is replaced.
    pub overwrite: bool,
    /// Told of the original bytes done.
    pub progress: Option<Arc<dyn Progress>>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self::of(Profile::default())
    }
}

impl EncodeOptions {
    /// The options that go with a profile.
    pub fn of(profile: Profile) -> Self {
        Self {
            profile,
            block_elements: profile.block_elements(),
            states_per_lane: profile.states_per_lane(),
            pair_tolerance: profile.pair_tolerance(),
            section_alignment: profile.section_alignment(),
            sha256: true,
            base: None,
            overwrite: false,
            progress: None,
        }
    }

    /// Tells of original bytes done.
    pub(super) fn advance(&self, bytes: usize) {
        if let Some(progress) = &self.progress {
            progress.advance(bytes as u64);
        }
    }

    /// An error that names the option that is out of its range, if one is.
    pub(super) fn check(&self) -> Result<()> {
        let elements = self.block_elements;
        let (least, most) = (MIN_BLOCK_ELEMENTS, MAX_BLOCK_ELEMENTS);
        if !elements.is_multiple_of(least) || !(least..=most).contains(&elements) {
            return Err(Error::InvalidArgument {
                what: "block_elements".into(),
                detail: format!("{elements} is not a multiple of {least} up to {most}"),
            });
        }
        let (alignment, least, most) =
            (self.section_alignment as u64, MIN_SECTION_ALIGNMENT, SECTION_ALIGNMENT);
        if !alignment.is_power_of_two() || !(least..=most).contains(&alignment) {
            return Err(Error::InvalidArgument {
                what: "section_alignment".into(),
                detail: format!("{alignment} is not a power of two from {least} to {most}"),
            });
        }
        if !(0.0..=1.0).contains(&self.pair_tolerance) {
            return Err(Error::InvalidArgument {
                what: "pair_tolerance".into(),
                detail: format!("{} is not from 0 to 1", self.pair_tolerance),
            });
        }
        if !(1..=2).contains(&self.states_per_lane) {
            return Err(Error::InvalidArgument {
                what: "states_per_lane".into(),
                detail: format!("{} is neither 1 nor 2", self.states_per_lane),
            });
        }
        Ok(())
    }
}
