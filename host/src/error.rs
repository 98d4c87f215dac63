//! The error type of the crate: what went wrong, where, and what to do about it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::safetensors::SafetensorsProblem;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Longest part of a foreign string (a tensor name, a parser's message) that a message repeats.
const MAX_QUOTED_CHARS: usize = 120;

/// How many similar names [`Error::tensor_not_found`] suggests at most.
const MAX_SUGGESTIONS: usize = 3;

/// Names with a lower Jaro-Winkler similarity (0 to 1) than this are not worth suggesting.
const MIN_SUGGESTION_SIMILARITY: f64 = 0.75;

/// Everything that can go wrong, each with what a caller needs to act on it.
///
/// The `Display` form is one complete sentence that already contains the cause, so it can be shown
/// on its own; strings taken from files are escaped and shortened in it. [`Error::kind`] groups the
/// variants.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}: {source}; {}", quoted_path(path), advice_for_io(source))]
    Io {
        /// The verb of what was tried, such as "read" or "rename".
        action: String,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },

    /// The disk, or the user's quota on it, is full.
    #[error(
        "cannot {action} {}: {source}; free some space or choose another disk, then run it again",
        quoted_path(path)
    )]
    NoSpace {
        /// The verb of what was tried, such as "write".
        action: String,
        /// The file that could not grow.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },

    /// The output is there already, and overwriting was not asked for.
    #[error(
        "{} already exists; choose another name, or replace it with --force (`overwrite` in the library)",
        quoted_path(path)
    )]
    TargetExists {
        /// The existing file or directory.
        path: PathBuf,
    },

    /// Input ends before the bytes that it announces.
    #[error(
        "{what} is cut short at {location}: {expected} bytes are needed and {actual} are there; download or copy it again"
    )]
    Truncated {
        /// The thing that is incomplete, such as a file or a section.
        what: String,
        /// Where in it the bytes run out.
        location: String,
        /// Bytes needed.
        expected: u64,
        /// Bytes present.
        actual: u64,
    },

    /// A `.wcodec` file does not end as one.
    #[error(
        "{what} was cut off, or never finished: its {bytes} bytes don't end with an end mark; download or copy it again"
    )]
    Unfinished {
        /// The file.
        what: String,
        /// Bytes present.
        bytes: u64,
    },

    /// Input contradicts its own format.
    #[error("{what} is damaged at {location}: {detail}; download or copy it again")]
    Corrupt {
        /// The damaged thing, such as a file or a tensor.
        what: String,
        /// Where in it the damage shows.
        location: String,
        /// What is wrong there.
        detail: String,
    },

    /// Bytes don't have the checksum that was stored for them.
    #[error(
        "{what} is damaged at {location}: its checksum is {actual} instead of {expected}; download or copy it again"
    )]
    ChecksumMismatch {
        /// The damaged thing, such as a file or a tensor.
        what: String,
        /// Where in it the summed bytes lie.
        location: String,
        /// The stored checksum, in hexadecimal.
        expected: String,
        /// The checksum of the bytes found, in hexadecimal.
        actual: String,
    },

    /// The file was written by a newer release.
    #[error(
        "{what} has format version {found}, and this release reads versions up to {newest_supported}; update wcodec"
    )]
    UnsupportedVersion {
        /// The file or section that carries the version.
        what: String,
        /// Its version.
        found: u32,
        /// The newest version this release reads.
        newest_supported: u32,
    },

    /// A `.safetensors` file breaks the rules of its format.
    #[error("{} is not a valid .safetensors file: {problem}; {}", quoted_path(path), problem.advice())]
    InvalidSafetensors {
        /// The file.
        path: PathBuf,
        /// The broken rule.
        problem: SafetensorsProblem,
    },

    /// No tensor has the name asked for.
    #[error(
        "{} has no tensor named {}; {}",
        quoted_path(path),
        quoted(tensor),
        suggestion(nearest)
    )]
    NotFound {
        /// The file that was searched.
        path: PathBuf,
        /// The name asked for.
        tensor: String,
        /// Names in the file that look like it, most similar first.
        nearest: Vec<String>,
    },

    /// The caller asked for something impossible.
    #[error("{what} is not usable: {detail}")]
    InvalidArgument {
        /// The argument or option.
        what: String,
        /// Why it can't be used, and what could be.
        detail: String,
    },

    /// Two things that were compared are both readable, and differ.
    #[error(
        "{left} differs from {right}: {detail}; compress the original again if it is the one to keep"
    )]
    Mismatch {
        /// The thing that was verified.
        left: String,
        /// What it was compared with.
        right: String,
        /// The first difference.
        detail: String,
    },

    /// The process was told to end, see [`crate::output::abandon_unfinished`].
    #[error(
        "{} was not written, because the process was told to end; run it again",
        quoted_path(path)
    )]
    Interrupted {
        /// The output, which is as it was before.
        path: PathBuf,
    },

    /// Loading was ended by [`Cancel`](crate::Cancel).
    #[error(
        "{} was not loaded, because that was cancelled; nothing of it is kept",
        quoted_path(path)
    )]
    Cancelled {
        /// The file.
        path: PathBuf,
    },

    /// Parts of a file could not be read; all others were.
    #[error(
        "{what} is damaged: {lost_bytes} of {bytes} bytes are lost, and zeros in their place; download or copy it again if you can"
    )]
    Incomplete {
        /// The damaged file.
        what: String,
        /// Bytes that are zeros.
        lost_bytes: u64,
        /// Bytes of the whole.
        bytes: u64,
    },

    /// The file is stored against another one, which was not given.
    #[error(
        "{} is stored against another checkpoint, and none was given; name the file with SHA-256 {sha256} with --base (`with_base` in the library)",
        quoted_path(path)
    )]
    MissingBase {
        /// The file that needs a base.
        path: PathBuf,
        /// SHA-256 of the base, in hexadecimal.
        sha256: String,
    },

    /// The file is stored against another one than was given.
    #[error(
        "{} is not the base of {}: its SHA-256 is {actual} instead of {expected}; give the file that was the base when it was encoded",
        quoted_path(base),
        quoted_path(path)
    )]
    WrongBase {
        /// The file that needs a base.
        path: PathBuf,
        /// The file that was given.
        base: PathBuf,
        /// SHA-256 of the right base, in hexadecimal.
        expected: String,
        /// SHA-256 of what was given, in hexadecimal.
        actual: String,
    },

    /// The GPU, its driver or a kernel failed.
    #[error(
        "the GPU cannot {action}: {detail}; decode on the CPU instead, which gives the same bytes"
    )]
    Gpu {
        /// The verb of what was tried, such as "load the kernels".
        action: String,
        /// What the driver or the device reported.
        detail: String,
    },

    /// A promise of this crate was about to be broken; nothing was written.
    #[error("internal error: {detail}; nothing was written, please report this as a bug in wcodec")]
    Internal {
        /// The promise and where it failed.
        detail: String,
    },
}

impl Error {
    /// Wraps an operating system error; a full disk or quota becomes [`Error::NoSpace`].
    ///
    /// `action` is the verb that completes "cannot ... `path`", such as "read".
    pub fn io(action: impl Into<String>, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let (action, path) = (action.into(), path.into());
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { action, path, source }
            }
            _ => Self::Io { action, path, source },
        }
    }

    /// No tensor of `path` is called `tensor`; `names` are the ones it has, from which similar ones
    /// are suggested.
    pub fn tensor_not_found<'a>(
        path: impl Into<PathBuf>,
        tensor: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let nearest = nearest_names(tensor, names);
        Self::NotFound { path: path.into(), tensor: tensor.to_owned(), nearest }
    }

    /// The group this error belongs to.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Io,
            Self::NoSpace { .. } => ErrorKind::NoSpace,
            Self::TargetExists { .. } => ErrorKind::TargetExists,
            Self::Truncated { .. } | Self::Unfinished { .. } => ErrorKind::Truncated,
            Self::Corrupt { .. } | Self::ChecksumMismatch { .. } => ErrorKind::Corrupt,
            Self::UnsupportedVersion { .. } => ErrorKind::Unsupported,
            Self::InvalidSafetensors { problem, .. } if problem.is_truncation() => {
                ErrorKind::Truncated
            }
            Self::InvalidSafetensors { .. }
            | Self::InvalidArgument { .. }
            | Self::MissingBase { .. } => ErrorKind::InvalidInput,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Mismatch { .. } | Self::WrongBase { .. } => ErrorKind::Mismatch,
            Self::Gpu { .. } => ErrorKind::Gpu,
            Self::Incomplete { .. } => ErrorKind::Incomplete,
            Self::Interrupted { .. } | Self::Cancelled { .. } => ErrorKind::Interrupted,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }
}

/// Groups of errors, for callers that branch and for the exit status of the command line tool.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A bug in this crate, found by one of its own checks.
    Internal,
    /// The operating system refused an operation.
    Io,
    /// The disk or the quota is full.
    NoSpace,
    /// The output exists and overwriting was not asked for.
    TargetExists,
    /// Input is incomplete.
    Truncated,
    /// Input is damaged.
    Corrupt,
    /// Input needs a newer release.
    Unsupported,
    /// Input or an argument breaks a rule.
    InvalidInput,
    /// A tensor asked for is not there.
    NotFound,
    /// A comparison found a difference.
    Mismatch,
    /// The GPU failed.
    Gpu,
    /// A damaged file was salvaged, and something is missing.
    Incomplete,
    /// The process was told to end, or a load was.
    Interrupted,
}

impl ErrorKind {
    /// The exit status of the `wcodec` command for this kind; 0 (success) and 2 (wrong usage) are
    /// never given.
    ///
    /// | status | kind | status | kind |
    /// |---|---|---|---|
    /// | 1 | `Internal` | 8 | `Unsupported` |
    /// | 3 | `Io` | 9 | `InvalidInput` |
    /// | 4 | `NoSpace` | 10 | `NotFound` |
    /// | 5 | `TargetExists` | 11 | `Mismatch` |
    /// | 6 | `Truncated` | 12 | `Gpu` |
    /// | 7 | `Corrupt` | 13 | `Incomplete` |
    /// | | | 130 | `Interrupted` |
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Io => 3,
            Self::NoSpace => 4,
            Self::TargetExists => 5,
            Self::Truncated => 6,
            Self::Corrupt => 7,
            Self::Unsupported => 8,
            Self::InvalidInput => 9,
            Self::NotFound => 10,
            Self::Mismatch => 11,
            Self::Gpu => 12,
            Self::Incomplete => 13,
            Self::Interrupted => 130,
        }
    }
}

/// Displays a string from a file in quotes, control characters escaped so that a terminal stays as
/// it is, shortened.
pub(crate) fn quoted(text: &str) -> impl fmt::Display {
    format!("{:?}", clipped(text))
}

/// The first [`MAX_QUOTED_CHARS`] characters, with an ellipsis where more followed.
pub(crate) fn clipped(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Displays a path in quotes with control characters escaped; never shortened, so that it can be
/// copied.
pub(crate) fn quoted_path(path: &Path) -> impl fmt::Display {
    let mut shown = String::from("\"");
    for character in path.to_string_lossy().chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown + "\""
}

fn advice_for_io(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "check that the path is right and its directory exists",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "check its permissions"
        }
        io::ErrorKind::IsADirectory => "name a file instead",
        io::ErrorKind::NotADirectory => "name a directory instead",
        _ => "check the disk and run it again",
    }
}

fn suggestion(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return "list its tensors to see their names".to_owned();
    }
    let names: Vec<String> = nearest.iter().map(|name| quoted(name).to_string()).collect();
    format!("did you mean {}?", names.join(" or "))
}

fn nearest_names<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = clipped(wanted);
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &clipped(name)), name))
        .filter(|&(similarity, _)| similarity >= MIN_SUGGESTION_SIMILARITY)
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
    scored.truncate(MAX_SUGGESTIONS);
    scored.into_iter().map(|(_, name)| name.to_owned()).collect()
}
