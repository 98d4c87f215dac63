//! Finds a rustc that can compile kernels.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{BuildError, Rejected};

/// The environment variable that names the rustc to use.
pub const RUSTC_VARIABLE: &str = "WCODEC_KERNEL_RUSTC";

/// The oldest release that the kernels are known to compile with.
pub(crate) const MINIMUM: Version = Version { major: 1, minor: 96, patch: 0 };

/// Where Debian's packages put rustc.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Where Debian's packages put the source of a release, as `rustc-MAJOR.MINOR.PATCH`.
const DEBIAN_SOURCES: &str = "/usr/src";

/// A release of rustc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 1.
    pub major: u32,
    /// Six weeks each.
    pub minor: u32,
    /// Corrections.
    pub patch: u32,
}

impl Version {
    /// Reads what `rustc --version` prints; `None` where that is something else.
    pub fn parse(printed: &str) -> Option<Self> {
        let release = printed.strip_prefix("rustc ")?.split_whitespace().next()?;
        let numbers = release.split_once('-').map_or(release, |(numbers, _channel)| numbers);
        let mut parts = numbers.split('.').map(str::parse);
        let version = Self {
            major: parts.next()?.ok()?,
            minor: parts.next()?.ok()?,
            patch: parts.next()?.ok()?,
        };
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A rustc that can compile kernels, and the cargo to drive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// What drives it: rustup's nightly has its own, any other compiler gets the cargo that runs.
    pub cargo: PathBuf,
    /// The compiler's release.
    pub version: Version,
    /// What the compiler prints as its version, with commit and date.
    pub description: String,
    /// The source of the library, where it is not where cargo looks for it.
    pub(crate) library_source: Option<PathBuf>,
}

/// Looks at one place; the error says what is missing there.
type Find = fn() -> Result<Toolchain, String>;

/// Looks for a toolchain, in this order: the one that [`RUSTC_VARIABLE`] names, and then no other;
/// Debian's, in `/usr/bin`; rustup's `nightly`.
///
/// # Errors
///
/// [`BuildError::NoToolchain`] with all that was looked at and how to install one.
pub fn find_toolchain() -> Result<Toolchain, BuildError> {
    if let Some(rustc) = env::var_os(RUSTC_VARIABLE).filter(|value| !value.is_empty()) {
        return examine(Path::new(&rustc), running_cargo()).map_err(|reason| {
            let candidate = format!("{RUSTC_VARIABLE}={}", Path::new(&rustc).display());
            BuildError::NoToolchain { rejected: vec![Rejected { candidate, reason }] }
        });
    }
    let mut rejected =
        vec![Rejected { candidate: RUSTC_VARIABLE.to_owned(), reason: "is not set".to_owned() }];
    let candidates: [(&str, Find); 2] = [
        (DEBIAN_RUSTC, || examine(Path::new(DEBIAN_RUSTC), running_cargo())),
        ("rustup's nightly", rustup_nightly),
    ];
    for (candidate, find) in candidates {
        match find() {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => rejected.push(Rejected { candidate: candidate.to_owned(), reason }),
        }
    }
    Err(BuildError::NoToolchain { rejected })
}

/// The cargo that runs this build, or the one in the path outside of a build.
fn running_cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

fn rustup_nightly() -> Result<Toolchain, String> {
    let which = |program: &str| {
        let mut command = Command::new("rustup");
        // Looking must not install anything.
        command.env("RUSTUP_AUTO_INSTALL", "0");
        command.args(["which", "--toolchain", "nightly", program]);
        printed_by(command).map(PathBuf::from)
    };
    examine(&which("rustc")?, which("cargo")?)
}

/// Checks that a rustc is recent enough and has the library's source; the error says what it lacks.
fn examine(rustc: &Path, cargo: PathBuf) -> Result<Toolchain, String> {
    let description = printed_by(rustc_command(rustc, ["--version"]))?;
    let version = Version::parse(&description)
        .ok_or_else(|| format!("prints {description:?} as its version"))?;
    if version < MINIMUM {
        return Err(format!("is {version}, older than {MINIMUM}"));
    }
    let sysroot = printed_by(rustc_command(rustc, ["--print", "sysroot"]))?;
    let library_source = library_source(Path::new(&sysroot), version)?;
    Ok(Toolchain { rustc: rustc.to_owned(), cargo, version, description, library_source })
}

/// Where the library's source is; `None` for the place where cargo finds it by itself.
fn library_source(sysroot: &Path, version: Version) -> Result<Option<PathBuf>, String> {
    let expected = sysroot.join("lib/rustlib/src/rust/library");
    let debian = Path::new(DEBIAN_SOURCES).join(format!("rustc-{version}/library"));
    let holds_core = |library: &Path| library.join("core/src/lib.rs").is_file();
    if holds_core(&expected) {
        Ok(None)
    } else if holds_core(&debian) {
        Ok(Some(debian))
    } else {
        let (expected, debian) = (expected.display(), debian.display());
        Err(format!("is {version}, without library source in {expected} or {debian}"))
    }
}

fn rustc_command<const N: usize>(rustc: &Path, arguments: [&str; N]) -> Command {
    let mut command = Command::new(rustc);
    // A rustc in the path may be rustup's; it should be the one of the folder it was named in.
    command.args(arguments).env_remove("RUSTUP_TOOLCHAIN").env("RUSTUP_AUTO_INSTALL", "0");
    command
}

/// Standard output without the final line break, or why there is none.
fn printed_by(mut command: Command) -> Result<String, String> {
    let program = Path::new(command.get_program()).to_owned();
    let output = command.output().map_err(|error| match program.file_name() {
        Some(name) if name == OsStr::new("rustup") => format!("rustup does not run ({error})"),
        _ => format!("does not run ({error})"),
    })?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(complaint.lines().next().unwrap_or("fails without a message").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_releases_nightlies_and_distributions() {
        for (printed, expected) in [
            ("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)", (1, 96, 0)),
            ("rustc 1.97.0-nightly (e50aa6fba 2026-05-19)", (1, 97, 0)),
            ("rustc 1.95.0-beta.3 (0123456789 2026-03-01)", (1, 95, 0)),
            ("rustc 2.0.10", (2, 0, 10)),
        ] {
            let (major, minor, patch) = expected;
            assert_eq!(Version::parse(printed), Some(Version { major, minor, patch }), "{printed}");
        }
    }

    #[test]
    fn other_text_is_no_version() {
        for printed in
            ["", "rustc", "rustc ", "rustc 1.96", "rustc 1.96.x", "cargo 1.96.0", "rustc 1.2.3.4"]
        {
            assert_eq!(Version::parse(printed), None, "{printed:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let parse = |text| Version::parse(text).expect("a version");
        assert!(parse("rustc 1.100.0") > MINIMUM);
        assert!(parse("rustc 1.95.9") < MINIMUM);
        assert!(parse("rustc 1.96.0-nightly") >= MINIMUM);
    }

    #[test]
    fn a_missing_program_is_rejected_with_the_reason() {
        let reason = examine(Path::new("/nonexistent/rustc"), PathBuf::from("cargo"));
        assert!(reason.is_err_and(|reason| reason.starts_with("does not run (")));
    }
}
