//! The base of encode, decode and verify.

use std::path::Path;
use std::sync::Arc;

use wcodec::{Base, Checkpoint, Error, Result};

use super::answer::shown;

/// Opens what `--base` names.
pub(super) fn open(base: Option<&Path>) -> Result<Option<Arc<Base>>> {
    base.map(|path| Base::open(path).map(Arc::new)).transpose()
}

/// Gives the base, if there is one, to a checkpoint.
pub(super) fn attach(checkpoint: Checkpoint, base: Option<&Path>) -> Result<Checkpoint> {
    match open(base)? {
        Some(base) => checkpoint.with_base(base),
        None => Ok(checkpoint),
    }
}

/// Only single files are stored against a base.
pub(super) fn refuse_directory(base: Option<&Path>, input: &Path) -> Result<()> {
    match base {
        None => Ok(()),
        Some(base) => Err(Error::InvalidArgument {
            what: format!("--base {} for the directory {}", shown(base), shown(input)),
            detail: "only files are stored against a base; name one of its files".into(),
        }),
    }
}
