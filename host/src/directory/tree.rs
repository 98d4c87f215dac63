//! What is in a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::error::{Error, Result, quoted_path};

/// All that is below a directory, symbolic links followed; each in the order of its names.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// Paths below the root, parents before their children.
    pub(super) directories: Vec<PathBuf>,
    pub(super) files: Vec<TreeFile>,
}

/// A regular file of a tree.
#[derive(Debug)]
pub(super) struct TreeFile {
    /// Path below the root.
    pub(super) relative: PathBuf,
    pub(super) bytes: u64,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { root: root.to_owned(), directories: Vec::new(), files: Vec::new() };
        for entry in WalkDir::new(root).follow_links(true).sort_by_file_name() {
            tree.add(&entry.map_err(|error| walk_error(root, error))?)?;
        }
        Ok(tree)
    }

    fn add(&mut self, entry: &DirEntry) -> Result<()> {
        // The walk makes its paths by joining names to the root.
        let relative = entry.path().strip_prefix(&self.root).unwrap_or(entry.path()).to_owned();
        let kind = entry.file_type();
        if entry.depth() == 0 && !kind.is_dir() {
            return Err(unusable(entry.path(), "it is not a directory; name a directory"));
        }
        if kind.is_dir() && entry.depth() > 0 {
            self.directories.push(relative);
        } else if kind.is_file() {
            let metadata = entry.metadata().map_err(|error| walk_error(&self.root, error))?;
            self.files.push(TreeFile { relative, bytes: metadata.len() });
        } else if !kind.is_dir() {
            let detail = "it is neither a file nor a directory; remove it from the directory";
            return Err(unusable(entry.path(), detail));
        }
        Ok(())
    }

    pub(super) fn path(&self, file: &TreeFile) -> PathBuf {
        self.root.join(&file.relative)
    }
}

pub(super) fn unusable(path: &Path, detail: impl Into<String>) -> Error {
    Error::InvalidArgument { what: quoted_path(path).to_string(), detail: detail.into() }
}

fn walk_error(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_owned();
    if let Some(ancestor) = error.loop_ancestor() {
        let target = quoted_path(ancestor);
        return unusable(
            &path,
            format!("it is a symbolic link to {target}, which contains it; remove the link"),
        );
    }
    let source = error.into_io_error().unwrap_or_else(|| io::Error::other("the walk failed"));
    if source.kind() == io::ErrorKind::NotFound && is_symbolic_link(&path) {
        return unusable(
            &path,
            "it is a symbolic link to something that is not there; download that file or remove \
             the link",
        );
    }
    Error::io("read", path, source)
}

fn is_symbolic_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}
