//! Output that appears whole or not at all: written beside its target, then renamed onto it.
//!
//! A failed or interrupted write leaves the target as it was. Dropping without a commit removes
//! what was written; only a process that is killed leaves a hidden file or directory behind, called
//! `.wcodec-*.partial`, which the next output in the same directory removes.

mod behind;
mod gathered;
mod pending;
mod rooms;
#[cfg(test)]
mod tests;
mod writeback;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::error::{Error, Result, quoted_path};
pub(crate) use behind::{InBetween, Nothing, Output, write_beside};
pub(crate) use gathered::{Piece, SMALL_PIECE_BYTES};
use pending::{PREFIX, Pending, SUFFIX, sweep};
pub(crate) use rooms::Rooms;
use writeback::Writeback;

pub use pending::abandon_unfinished;

/// A file that appears under its name only when it is complete.
///
/// Writes go to the operating system unbuffered; write in large pieces.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: NamedTempFile,
    target: PathBuf,
    overwrite: bool,
    writeback: Writeback,
    // After the file itself, which is removed first.
    pending: Pending,
}

impl AtomicFile {
    /// Starts a file that [`AtomicFile::commit`] will name `target`; its permissions are those of
    /// any new file.
    ///
    /// # Errors
    ///
    /// [`Error::TargetExists`] if `target` is there and `overwrite` is false;
    /// [`Error::InvalidArgument`] if `target` is no file name or is there and no regular file
    /// (a symbolic link is none); [`Error::Io`] if its directory is not writable.
    pub fn create(target: impl Into<PathBuf>, overwrite: bool) -> Result<Self> {
        let target = target.into();
        file_name(&target)?;
        check_target(&target, overwrite, "a regular file", fs::Metadata::is_file)?;
        let parent = parent(&target);
        sweep(parent);
        let make = || {
            hidden(SUFFIX, Some(0o666))
                .tempfile_in(parent)
                .map_err(|source| Error::io("create a file in", parent, source))
        };
        let (temporary, pending) = Pending::start(&target, make, NamedTempFile::path)?;
        Ok(Self { temporary, target, overwrite, writeback: Writeback::default(), pending })
    }

    /// The name that the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The file itself, for positioned writes and for changing its length.
    pub fn as_file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Writes all of `bytes` at the current position.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`] if the disk is full, [`Error::Io`] for anything else; both name the
    /// target.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|source| Error::io("write", &self.target, source))
    }

    /// Makes the bytes durable and gives the file its name, replacing an existing one only with
    /// `overwrite`.
    ///
    /// # Errors
    ///
    /// [`Error::TargetExists`] if a file appeared there since [`AtomicFile::create`] and
    /// `overwrite` is false; [`Error::NoSpace`] or [`Error::Io`] if the operating system fails.
    /// The target is then as it was, except where only making the finished rename durable
    /// failed.
    pub fn commit(self) -> Result<()> {
        let file = self.temporary.as_file();
        file.sync_all().map_err(|source| Error::io("write", &self.target, source))?;
        let (temporary, target) = (self.temporary, &self.target);
        let persisted = self.pending.commit(target, || {
            if self.overwrite {
                temporary.persist(target)
            } else {
                temporary.persist_noclobber(target)
            }
        })?;
        match persisted {
            Ok(_) => sync_directory(parent(&self.target)),
            Err(error) if !self.overwrite && error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::TargetExists { path: self.target })
            }
            Err(error) => Err(Error::io("rename the finished file to", self.target, error.error)),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let file = self.temporary.as_file_mut();
        let written = file.write_vectored(slices)?;
        self.writeback.advance(file, written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()?;
        self.writeback.begin_all(self.temporary.as_file());
        Ok(())
    }
}

/// A directory that appears under its name only when it is complete.
#[derive(Debug)]
pub struct AtomicDirectory {
    temporary: TempDir,
    target: PathBuf,
    overwrite: bool,
    pending: Pending,
}

impl AtomicDirectory {
    /// Starts an empty directory that [`AtomicDirectory::commit`] will name `target`.
    ///
    /// # Errors
    ///
    /// [`Error::TargetExists`] if `target` is there and `overwrite` is false;
    /// [`Error::InvalidArgument`] if `target` is no directory name or is there and no directory
    /// (a symbolic link is none); [`Error::Io`] if its parent is not writable.
    pub fn create(target: impl Into<PathBuf>, overwrite: bool) -> Result<Self> {
        let target = target.into();
        file_name(&target)?;
        check_target(&target, overwrite, "a directory", fs::Metadata::is_dir)?;
        let parent = parent(&target);
        sweep(parent);
        let make = || {
            hidden(SUFFIX, Some(0o777))
                .tempdir_in(parent)
                .map_err(|source| Error::io("create a directory in", parent, source))
        };
        let (temporary, pending) = Pending::start(&target, make, TempDir::path)?;
        Ok(Self { temporary, target, overwrite, pending })
    }

    /// Where to write until the commit. Files made with [`AtomicFile`] here are durable once
    /// committed.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// The name that the directory will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the directory its name. With `overwrite`, it changes places with an existing one, which
    /// is then removed with all that is in it; where the file system cannot do that in one step, the
    /// old one is moved aside first.
    ///
    /// # Errors
    ///
    /// [`Error::TargetExists`] if something appeared there since [`AtomicDirectory::create`] and
    /// `overwrite` is false; [`Error::Io`] if the operating system fails. The target is then as
    /// it was, except where only making the finished rename durable or removing the old
    /// directory failed.
    pub fn commit(self) -> Result<()> {
        sync_directory(self.path())?;
        let parent = parent(&self.target).to_owned();
        let renamed = self.pending.commit(&self.target, || self.take_name(&parent))??;
        sync_directory(&parent)?;
        match renamed {
            Renamed::Alone => {
                // The directory has left its temporary name, so nothing is left there to remove.
                let _ = self.temporary.keep();
                Ok(())
            }
            Renamed::Exchanged => {
                let path = self.temporary.path().to_owned();
                self.temporary
                    .close()
                    .map_err(|source| Error::io("remove the replaced directory", path, source))
            }
            Renamed::After(old) => {
                let _ = self.temporary.keep();
                old.remove()
            }
        }
    }

    /// Renames the directory to its target, and what is there to somewhere else.
    fn take_name(&self, parent: &Path) -> Result<Renamed> {
        if exists(&self.target)? {
            check_target(&self.target, self.overwrite, "a directory", fs::Metadata::is_dir)?;
            if exchange(self.path(), &self.target) {
                return Ok(Renamed::Exchanged);
            }
        }
        let old = if exists(&self.target)? { Some(self.move_aside(parent)?) } else { None };
        if let Err(source) = fs::rename(self.path(), &self.target) {
            let Some(old) = old else {
                return Err(rename_error(self.target.clone(), source));
            };
            return Err(old.move_back(&self.target, source));
        }
        Ok(old.map_or(Renamed::Alone, Renamed::After))
    }

    fn move_aside(&self, parent: &Path) -> Result<OldDirectory> {
        check_target(&self.target, self.overwrite, "a directory", fs::Metadata::is_dir)?;
        let name = file_name(&self.target)?;
        let holder = hidden(".old", None)
            .tempdir_in(parent)
            .map_err(|source| Error::io("create a directory in", parent, source))?;
        let moved_to = holder.path().join(&name);
        fs::rename(&self.target, &moved_to)
            .map_err(|source| Error::io("move aside", &self.target, source))?;
        Ok(OldDirectory { holder, moved_to })
    }
}

/// How a finished directory got its name.
#[derive(Debug)]
enum Renamed {
    /// Nothing was there.
    Alone,
    /// What was there has the temporary name now.
    Exchanged,
    /// What was there has been moved aside.
    After(OldDirectory),
}

/// Lets two paths change places in one step; whether that worked.
#[cfg(target_os = "linux")]
fn exchange(left: &Path, right: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, left, CWD, right, RenameFlags::EXCHANGE).is_ok()
}

/// Other systems have no such call that all their file systems know.
#[cfg(not(target_os = "linux"))]
fn exchange(_left: &Path, _right: &Path) -> bool {
    false
}

/// What was at the target of an [`AtomicDirectory`], inside a temporary directory.
#[derive(Debug)]
struct OldDirectory {
    holder: TempDir,
    moved_to: PathBuf,
}

impl OldDirectory {
    fn remove(self) -> Result<()> {
        let path = self.holder.path().to_owned();
        self.holder
            .close()
            .map_err(|source| Error::io("remove the replaced directory", path, source))
    }

    /// Restores the target after `cause`; if even that fails, the old directory stays where the
    /// error says.
    fn move_back(self, target: &Path, cause: io::Error) -> Error {
        if fs::rename(&self.moved_to, target).is_ok() {
            return rename_error(target.to_owned(), cause);
        }
        let _ = self.holder.keep();
        let action = format!("replace (its old content is now at {})", quoted_path(&self.moved_to));
        Error::io(action, target, cause)
    }
}

/// The error of renaming a finished directory; a target that is in the way appeared since it was
/// last looked for.
fn rename_error(target: PathBuf, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::AlreadyExists
        | io::ErrorKind::DirectoryNotEmpty
        | io::ErrorKind::NotADirectory => Error::TargetExists { path: target },
        _ => Error::io("rename the finished directory to", target, source),
    }
}

/// A maker of hidden temporary names; `mode` asks for permissions, where none keeps them private.
///
/// The names don't contain the target's, which may be as long as the file system allows.
fn hidden(suffix: &'static str, mode: Option<u32>) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(suffix);
    if let Some(mode) = mode {
        set_mode(&mut builder, mode);
    }
    builder
}

/// Asks for `mode`, from which the operating system takes away the process's umask.
#[cfg(unix)]
fn set_mode(builder: &mut Builder<'_, '_>, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(mode));
}

/// Other systems derive the permissions from the directory.
#[cfg(not(unix))]
fn set_mode(_builder: &mut Builder<'_, '_>, _mode: u32) {}

fn file_name(target: &Path) -> Result<OsString> {
    target.file_name().map(OsStr::to_owned).ok_or_else(|| Error::InvalidArgument {
        what: format!("the output {}", quoted_path(target)),
        detail: "it must end in a name".to_owned(),
    })
}

/// The directory of `target`, which for a bare name is the current one.
fn parent(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that writing `output` leaves `input` alone: they are not the same, and neither is inside
/// the other. An input that is not there is left to whoever opens it to report.
pub(crate) fn ensure_apart(input: &Path, output: &Path) -> Result<()> {
    let (Ok(from), Some(to)) = (fs::canonicalize(input), resolve(output)) else {
        return Ok(());
    };
    let detail = if from == to {
        "it is the input itself; choose another name"
    } else if to.starts_with(&from) {
        "it lies inside the input; choose another place"
    } else if from.starts_with(&to) {
        "the input lies inside it; choose another place"
    } else {
        return Ok(());
    };
    Err(Error::InvalidArgument {
        what: format!("the output {}", quoted_path(output)),
        detail: detail.to_owned(),
    })
}

/// The absolute path of `target`, which need not be there, without symbolic links; none where even
/// its directory is missing.
fn resolve(target: &Path) -> Option<PathBuf> {
    let there = fs::canonicalize(target).ok();
    there.or_else(|| Some(fs::canonicalize(parent(target)).ok()?.join(target.file_name()?)))
}

/// Whether anything, even a dangling symbolic link, is there.
fn exists(target: &Path) -> Result<bool> {
    Ok(metadata(target)?.is_some())
}

fn metadata(target: &Path) -> Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(target) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("examine", target, source)),
    }
}

/// Checks that `target` is free, or may be replaced and is of the right kind ; a symbolic link
/// never is.
fn check_target(
    target: &Path,
    overwrite: bool,
    wanted: &str,
    is_wanted: impl FnOnce(&fs::Metadata) -> bool,
) -> Result<()> {
    match metadata(target)? {
        None => Ok(()),
        Some(_) if !overwrite => Err(Error::TargetExists { path: target.to_owned() }),
        Some(metadata) if is_wanted(&metadata) => Ok(()),
        Some(_) => Err(Error::InvalidArgument {
            what: format!("the output {}", quoted_path(target)),
            detail: format!("it exists and is not {wanted}, so it is not replaced"),
        }),
    }
}

/// Makes a rename in `directory` survive a power failure.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    match synced {
        // Some network and user-space file systems cannot synchronise a directory; there is nothing
        // to wait for.
        Err(source)
            if matches!(
                source.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        Err(source) => Err(Error::io("synchronise the directory", directory, source)),
        Ok(()) => Ok(()),
    }
}

/// Other systems don't open directories as files; their renames are journalled.
#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> Result<()> {
    Ok(())
}
