//! The call of cargo: flags, environment, and what it reports.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::arch::Arch;
use crate::toolchain::Toolchain;

pub(crate) const TARGET: &str = "nvptx64-nvidia-cuda";

/// The whole profile, so that a workspace's own does not matter.
const PROFILE: [&str; 7] = [
    "profile.release.opt-level=3",
    "profile.release.lto=\"fat\"",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.debug=false",
    "profile.release.overflow-checks=false",
    "profile.release.debug-assertions=false",
];

/// Variables of cargo's that say where things are and not how to build them.
const KEPT: [&str; 5] =
    ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_"];

/// Variables without cargo's prefix by which a build around this one would change it.
const DROPPED: [&str; 6] = [
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTUP_TOOLCHAIN",
    "RUSTC_LINKER",
];

/// The call that builds the library in `crate_path` and leaves its PTX under `target_dir`.
pub(crate) fn command(
    toolchain: &Toolchain,
    crate_path: &Path,
    arch: Arch,
    features: &[String],
    target_dir: &Path,
) -> Command {
    let mut command = Command::new(&toolchain.cargo);
    // Cargo and rustup look for their configuration upwards from here.
    command.current_dir(crate_path);
    isolate(&mut command);
    command.env("RUSTC", &toolchain.rustc);
    // `-Zbuild-std`, and the kernels' intrinsics, are unstable.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_ENCODED_RUSTFLAGS", rustflags(arch).join("\x1f"));
    if let Some(library) = &toolchain.library_source {
        // What cargo's own tests set; there is no other way to name the place.
        command.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    command.args(["rustc", "--release", "--lib", "--crate-type", "cdylib"]);
    command.args(["--target", TARGET, "-Zbuild-std=core"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.args(PROFILE.iter().flat_map(|setting| ["--config", setting]));
    if !features.is_empty() {
        command.arg("--features").arg(features.join(","));
    }
    command.arg("--target-dir").arg(target_dir);
    command.args(["--", "--emit=asm"]);
    command
}

/// The compiler's flags for every crate of the build, `core` too.
fn rustflags(arch: Arch) -> [String; 5] {
    [
        format!("-Ctarget-cpu={}", arch.target_cpu()),
        format!("-Ctarget-feature=+{}", arch.ptx_feature()),
        // Link-time optimisation happens only where something is linked; this links nothing.
        format!("-Clinker={}", linker_without_effect()),
        // It moves barriers into divergent branches: https://github.com/rust-lang/rust/issues/137086
        "-Zmir-enable-passes=-JumpThreading".to_owned(),
        // Panic messages would carry the paths of source files into the PTX.
        "-Zlocation-detail=none".to_owned(),
    ]
}

/// A program that succeeds without doing anything.
fn linker_without_effect() -> &'static str {
    ["/bin/true", "/usr/bin/true"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("true")
}

/// Removes what a cargo, rustup or shell around this build has set.
fn isolate(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if is_dropped(&name) {
            command.env_remove(name);
        }
    }
}

fn is_dropped(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    let kept = KEPT.iter().any(|prefix| name.starts_with(prefix));
    DROPPED.contains(&name) || name.starts_with("CARGO_") && !kept
}

/// The PTX of the library that cargo reports as built from `manifest`, in its JSON `messages`.
pub(crate) fn reported_ptx(messages: &str, manifest: &Path, target_dir: &Path) -> Option<PathBuf> {
    let name = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["manifest_path"].as_str().map(Path::new) == Some(manifest))
        .filter(|message| {
            let kinds = message["target"]["kind"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
        })
        .find_map(|message| Some(message["target"]["name"].as_str()?.replace('-', "_")))?;
    Some(target_dir.join(TARGET).join("release/deps").join(name).with_extension("s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_build_around_are_dropped_and_places_are_kept() {
        for name in [
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(is_dropped(&name.into()), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "PATH", "RUSTUP_HOME", "CARGOTHING"] {
            assert!(!is_dropped(&name.into()), "{name}");
        }
    }

    #[test]
    fn the_library_of_the_asked_crate_is_found_among_messages() {
        let messages = concat!(
            "not json\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/d/Cargo.toml","target":{"kind":["lib"],"name":"dep"}}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/k/Cargo.toml","target":{"kind":["cdylib"],"name":"my-k"}}"#,
            "\n",
        );
        let found = |manifest| reported_ptx(messages, Path::new(manifest), Path::new("/t"));
        assert_eq!(
            found("/k/Cargo.toml"),
            Some(PathBuf::from("/t/nvptx64-nvidia-cuda/release/deps/my_k.s"))
        );
        assert_eq!(found("/d/Cargo.toml"), None, "a library without kernels");
    }
}
