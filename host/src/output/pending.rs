//! The unfinished outputs of this process, and those that killed processes left behind.
//!
//! Whoever writes an unfinished file or directory holds a lock on it (`flock`), which the operating
//! system releases when the process ends, however that happens. So what can be locked belongs to
//! nobody any more, and goes when the next output is made beside it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// How the names of unfinished output begin and end.
pub(super) const PREFIX: &str = ".wcodec-";
pub(super) const SUFFIX: &str = ".partial";

/// How often an abandoned directory is removed again, which other threads may still be filling.
const REMOVALS: usize = 20;

struct Unfinished {
    is_abandoned: bool,
    paths: Vec<PathBuf>,
}

static UNFINISHED: Mutex<Unfinished> =
    Mutex::new(Unfinished { is_abandoned: false, paths: Vec::new() });

fn unfinished() -> MutexGuard<'static, Unfinished> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every unfinished output of this process, for a program that is about to end because it
/// was told to (by Ctrl-C, say). Outputs that are complete stay, and a rename that is under way is
/// waited for; from then on every output fails with [`Error::Interrupted`].
///
/// Not to be called from a signal handler itself, but from a thread that waits for signals.
pub fn abandon_unfinished() {
    let mut unfinished = unfinished();
    unfinished.is_abandoned = true;
    for path in std::mem::take(&mut unfinished.paths) {
        for _ in 0..REMOVALS {
            match remove(&path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => break,
            }
        }
    }
}

/// An output that is registered as unfinished until this is dropped.
#[derive(Debug)]
pub(super) struct Pending {
    path: PathBuf,
    /// Keeps other processes from taking the output for one that was left behind. None where the
    /// file system has no locks; there, nobody else can have one either.
    _lock: Option<File>,
}

impl Pending {
    /// Makes an unfinished output that will become `target`, with `make`; `path` says where it is.
    pub(super) fn start<T>(
        target: &Path,
        make: impl Fn() -> Result<T>,
        path: impl Fn(&T) -> &Path,
    ) -> Result<(T, Self)> {
        loop {
            let mut unfinished = unfinished();
            check(&unfinished, target)?;
            let made = make()?;
            let path = path(&made).to_owned();
            let lock = lock(&path);
            if lock.as_ref().is_some_and(is_removed) {
                // Another process locked and removed it first.
                continue;
            }
            unfinished.paths.push(path.clone());
            return Ok((made, Self { path, _lock: lock }));
        }
    }

    /// Runs `rename`, which gives the output its name, unless the process is about to end.
    pub(super) fn commit<R>(&self, target: &Path, rename: impl FnOnce() -> R) -> Result<R> {
        let unfinished = unfinished();
        check(&unfinished, target)?;
        Ok(rename())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        unfinished().paths.retain(|path| *path != self.path);
    }
}

fn check(unfinished: &Unfinished, target: &Path) -> Result<()> {
    if unfinished.is_abandoned {
        return Err(Error::Interrupted { path: target.to_owned() });
    }
    Ok(())
}

/// Removes what killed processes left unfinished in `directory`, as far as that is possible.
pub(super) fn sweep(directory: &Path) {
    if unfinished().paths.iter().any(|path| directory.starts_with(path)) {
        // Nobody else writes in there.
        return;
    }
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if !name.starts_with(PREFIX.as_bytes()) || !name.ends_with(SUFFIX.as_bytes()) {
            continue;
        }
        let is_ours = entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_dir());
        if let Some(_lock) = is_ours.then(|| try_lock(&entry.path())).flatten() {
            // What cannot be removed stays hidden beside the output.
            let _ = remove(&entry.path());
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

#[cfg(unix)]
fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.lock().ok()?;
    Some(file)
}

#[cfg(unix)]
fn try_lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

#[cfg(unix)]
fn is_removed(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

/// Other systems lock what is in a file too, so nothing is locked and nothing swept there.
#[cfg(not(unix))]
fn lock(_path: &Path) -> Option<File> {
    None
}

#[cfg(not(unix))]
fn try_lock(_path: &Path) -> Option<File> {
    None
}

#[cfg(not(unix))]
fn is_removed(_file: &File) -> bool {
    false
}
