//! What can go wrong, and what to do about it.

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

use crate::toolchain::MINIMUM;

/// A toolchain that was looked at, and why it will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// What was looked for.
    pub candidate: String,
    /// What it lacks.
    pub reason: String,
}

/// Why there is no PTX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No rustc here can compile kernels.
    #[error("{}", no_toolchain(.rejected))]
    NoToolchain {
        /// All that was looked at, in order.
        rejected: Vec<Rejected>,
    },
    /// The crate does not compile.
    #[error("the kernels in {} do not compile ({command}):\n{output}", crate_path.display())]
    Compile {
        /// The folder of the crate.
        crate_path: PathBuf,
        /// What ran.
        command: String,
        /// What it printed.
        output: String,
    },
    /// Cargo succeeded without making a library.
    #[error("cargo built no library from {}; kernels belong into a library", crate_path.display())]
    NoLibrary {
        /// The folder of the crate.
        crate_path: PathBuf,
    },
    /// The record beside checked-in PTX cannot be read.
    #[error("{}: no line `{expected}`", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// The line that is missing.
        expected: &'static str,
    },
    /// A file or a program could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BuildError {
    /// For `map_err`: adds what was tried, and with which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.candidate, self.reason)
    }
}

fn no_toolchain(rejected: &[Rejected]) -> String {
    let mut text =
        format!("no toolchain for kernels (rustc {MINIMUM} or later, with its library source):");
    for candidate in rejected {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {candidate}");
    }
    text.push_str(
        "\nInstall one:\n  apt-get install rustc-web rust-web-src\nor\n  \
         rustup toolchain install nightly --component rust-src",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_toolchain_says_what_was_looked_for_and_how_to_install() {
        let rejected = vec![
            Rejected { candidate: "/usr/bin/rustc".into(), reason: "is 1.85.0".into() },
            Rejected { candidate: "rustup's nightly".into(), reason: "has no source".into() },
        ];
        let text = BuildError::NoToolchain { rejected }.to_string();
        for part in [
            "rustc 1.96.0 or later",
            "/usr/bin/rustc: is 1.85.0",
            "rustup's nightly: has no source",
            "apt-get install rustc-web rust-web-src",
            "rustup toolchain install nightly --component rust-src",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
}
