//! The `.wcodec` container: fixed parts, index records, and their checks. `docs/FORMAT.md` is
//! normative; this module is its implementation.

mod deflate;
mod envelope;
mod frequencies;
mod index;
mod limits;
mod stored;

pub(crate) use envelope::{Envelope, FileHeader, Footer, MIN_SECTION_ALIGNMENT, SECTION_ALIGNMENT};
pub(crate) use frequencies::{decode_frequencies, encode_frequencies};
pub(crate) use index::{
    BaseRecord, BlockRecord, ChunkRecord, ClassesRecord, Index, NumberRecord, PlanRecord,
    PlaneRecord, ReferenceRecord, TableRecord, TensorRecord, TileClassesRecord, TilingRecord,
};
pub(crate) use limits::*;
pub(crate) use stored::{decode_index, encode_index};

use std::path::Path;

use crate::error::Error;

/// A `.wcodec` file that contradicts itself.
pub(crate) fn corrupt(
    path: &Path,
    location: impl Into<String>,
    detail: impl Into<String>,
) -> Error {
    Error::Corrupt {
        what: path.display().to_string(),
        location: location.into(),
        detail: detail.into(),
    }
}
