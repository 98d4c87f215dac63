//! The command when it is interrupted, killed, or the disk is full: outputs are as before or
//! complete, nothing is left behind, and the exit status says what happened. The counts in
//! SECURITY.md come from `examples/kill_at_random.rs` of the package `wcodec-tests`.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, ErrorKind, RestoreOptions};
use wcodec_tests::{Pattern, Random, TestTensor, kill_at_random, safetensors_file};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wcodec");

/// Elements of a checkpoint that takes a while.
const ELEMENTS: u64 = 8 << 20;

/// A checkpoint whose one tensor is the same `elements` numbers `times` over.
fn original(elements: u64, times: u64) -> Vec<u8> {
    let random = &mut Random::new(17);
    let mut tensor = TestTensor::new("w", Dtype::BF16, &[elements], Pattern::Gaussian, random);
    tensor.shape = vec![times, elements];
    tensor.bytes = tensor.bytes.repeat(times as usize);
    safetensors_file(&[tensor]).unwrap()
}

/// Writes the directory `model` and its encoded form `coded`.
fn write_model(folder: &Path, times: u64) {
    fs::write(folder.join("model/m.safetensors"), original(ELEMENTS, times)).unwrap();
    run(&["encode", "model", "-o", "coded", "--force"], folder);
}

/// A folder with the directory `model`, its encoded form `coded`, and the older outputs `file` and
/// `directory`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("model")).unwrap();
    write_model(folder.path(), 1);
    fs::write(path("file"), "older").unwrap();
    fs::create_dir(path("directory")).unwrap();
    fs::write(path("directory/older"), "older").unwrap();
    folder
}

fn command(arguments: &[&str], folder: &Path) -> Command {
    let mut command = if cfg!(target_os = "linux") {
        // What runs in the background may have been started with signals ignored, and then the
        // program leaves them so.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM,HUP", PROGRAM]);
        command
    } else {
        Command::new(PROGRAM)
    };
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], folder: &Path) -> Output {
    let output = command(arguments, folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Starts a command, sends it `signal` once its output is under way, and returns its exit status.
/// A busy machine may send it too late; then the command gets twice as much to do.
fn interrupted(arguments: &[&str], folder: &Path, signal: Signal) -> Option<i32> {
    for doublings in 1..6 {
        let mut child = command(arguments, folder).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            if children(folder).iter().any(|path| is_hidden(path)) {
                break;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        // It fails where the command has ended meanwhile.
        let _ = kill_process(Pid::from_child(&child), signal);
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(message.starts_with("wcodec: "), "{message}");
            return output.status.code();
        }
        fs::write(folder.join("file"), "older").unwrap();
        fs::remove_dir_all(folder.join("directory")).unwrap();
        fs::create_dir(folder.join("directory")).unwrap();
        fs::write(folder.join("directory/older"), "older").unwrap();
        write_model(folder, 1 << doublings);
    }
    panic!("{arguments:?} was too fast each time");
}

#[test]
fn signals_end_it_with_their_status_and_leave_everything_as_it_was() {
    let folder = folder();
    let before = children(folder.path());
    let cases = [
        (["encode", "model/m.safetensors", "file"], Signal::INT, 130),
        (["decode", "coded/m.safetensors.wcodec", "file"], Signal::INT, 130),
        (["encode", "model", "directory"], Signal::TERM, 143),
        (["decode", "coded", "directory"], Signal::HUP, 129),
    ];
    for ([name, input, output], signal, status) in cases {
        let arguments = [name, input, "-o", output, "--force"];
        assert_eq!(interrupted(&arguments, folder.path(), signal), Some(status), "{arguments:?}");
        assert_eq!(children(folder.path()), before, "{arguments:?}");
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"older");
        assert_eq!(children(&folder.path().join("directory")).len(), 1);
        assert_eq!(fs::read(folder.path().join("directory/older")).unwrap(), b"older");
    }
}

#[test]
fn kills_at_random_moments_break_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(PROGRAM);
    let kills = kill_at_random(program, &original(2 << 20, 1), folder.path(), 12, 5).unwrap();
    assert_eq!((kills.killed, kills.broken), (12, 0), "{kills:?}");
}

/// A file system of one MiB, which nobody but the new user and mount namespace sees. Where the
/// operating system does not allow that, a limit on file sizes stands in for it, in
/// `tests/tests/errors.rs`.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_has_its_status_and_leaves_the_target() {
    let folder = folder();
    fs::create_dir(folder.path().join("disk")).unwrap();
    let script = r#"
        mount -t tmpfs -o size=1m none disk || exit 99
        echo older > disk/out
        "$0" "$@" -o disk/out --force
        status=$?
        [ "$(ls -A disk)" = out ] && [ "$(cat disk/out)" = older ] || exit 98
        exit $status
    "#;
    let inputs = [["encode", "model/m.safetensors"], ["decode", "coded/m.safetensors.wcodec"]];
    for arguments in inputs {
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, PROGRAM])
            .args(arguments)
            .current_dir(folder.path())
            .output();
        let Ok(output) = output else {
            println!("skipped: there is no unshare to make a small file system with");
            return;
        };
        let message = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(99) || message.contains("unshare") {
            println!("skipped: no small file system can be made here: {message}");
            return;
        }
        let status = i32::from(ErrorKind::NoSpace.exit_code());
        assert_eq!(output.status.code(), Some(status), "{message}");
        assert!(message.contains("free some space"), "{message}");
    }
}

#[test]
fn salvage_lists_what_is_lost_and_has_its_status() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let mut damaged = fs::read(path("coded/m.safetensors.wcodec")).unwrap();
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    fs::write(path("damaged.wcodec"), damaged).unwrap();
    let salvage = ["decode", "--salvage", "--json", "damaged.wcodec", "-o", "salvaged"];
    let output = command(&salvage, folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(ErrorKind::Incomplete.exit_code())));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let lost = answer["lost"].as_array().unwrap();
    assert_eq!((lost.len(), &lost[0]["tensor"]), (1, &"w".into()));
    let (start, end) = (lost[0]["start"].as_u64().unwrap(), lost[0]["end"].as_u64().unwrap());
    assert_eq!(answer["lost_bytes"].as_u64(), Some(end - start));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("wcodec: damaged.wcodec is damaged: "), "{message}");

    let (original, salvaged) =
        (fs::read(path("model/m.safetensors")).unwrap(), fs::read(path("salvaged")).unwrap());
    let data = original.len() - (16 << 20);
    let lost = data + start as usize..data + end as usize;
    assert!(salvaged.len() == original.len() && salvaged[lost.clone()].iter().all(|&b| b == 0));
    assert!(salvaged[..lost.start] == original[..lost.start]);
    assert!(salvaged[lost.end..] == original[lost.end..]);

    // Of a good file, salvaging is decoding.
    let salvage = ["decode", "--salvage", "coded/m.safetensors.wcodec", "-o", "whole"];
    run(&salvage, folder.path());
    assert!(fs::read(path("whole")).unwrap() == original);
    let directory = command(&["decode", "--salvage", "coded", "-o", "x"], folder.path());
    let output = { directory }.output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(ErrorKind::InvalidInput.exit_code())));
}

#[test]
fn abandoned_outputs_go_and_no_new_one_begins() {
    // In a process of its own, which `cargo test` gives to no test: this one runs itself again.
    const FOLDER: &str = "WCODEC_TESTS_ABANDONED_FOLDER";
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "abandoned_outputs_go_and_no_new_one_begins"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        return;
    };
    let bytes = wcodec_tests::small_file().unwrap();
    let mut unfinished = wcodec::output::AtomicFile::create(folder.join("out"), false).unwrap();
    unfinished.append(b"half").unwrap();
    wcodec::output::abandon_unfinished();
    assert_eq!(children(&folder).len(), 0);
    assert_eq!(unfinished.commit().unwrap_err().kind(), ErrorKind::Interrupted);
    let checkpoint = Checkpoint::from_bytes(bytes).unwrap();
    let error = checkpoint.restore(folder.join("out"), &RestoreOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(children(&folder).len(), 0);
}
