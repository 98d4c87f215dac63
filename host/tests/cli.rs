//! The `wcodec` command as people and scripts use it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wcodec::{DEMO_CHECKPOINT, ErrorKind};

/// A folder with the demonstration checkpoint as `m.safetensors`, in which commands run.
struct Workplace(TempDir);

impl Workplace {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("m.safetensors"), DEMO_CHECKPOINT).unwrap();
        Self(folder)
    }

    /// One where `m.safetensors.wcodec` is there too.
    fn encoded() -> Self {
        let place = Self::new();
        place.run(&["encode", "m.safetensors"]).success();
        place
    }

    /// One with the directory `model` instead.
    fn with_model() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.path("model/nested")).unwrap();
        fs::write(place.path("model/m.safetensors"), DEMO_CHECKPOINT).unwrap();
        fs::write(place.path("model/nested/n.safetensors"), DEMO_CHECKPOINT).unwrap();
        fs::write(place.path("model/nested/config.json"), "{}").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = cargo_bin_cmd!("wcodec");
        command.args(arguments).current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        self.command(arguments).assert()
    }

    /// The object that a command prints with `--json`, which has exactly the keys `keys`.
    fn json(&self, arguments: &[&str], keys: &str) -> Value {
        let output = self.command(arguments).arg("--json").assert().success().stderr(is_empty());
        let value: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert_keys(&value, keys);
        assert_eq!(value["command"], arguments[0]);
        value
    }

    /// A command fails with the status of `kind` and one line on standard error, and nothing in
    /// the folder changes.
    fn fails(&self, arguments: &[&str], kind: ErrorKind, says: &str) {
        let before = snapshot(self.0.path());
        self.run(arguments)
            .code(i32::from(kind.exit_code()))
            .stdout(is_empty())
            .stderr(starts_with("wcodec: ").and(contains(says)))
            .stderr(predicate::function(|text: &str| text.lines().count() == 1));
        assert_eq!(snapshot(self.0.path()), before);
    }
}

fn assert_keys(value: &Value, keys: &str) {
    let found: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, keys.split(' ').collect());
}

/// Everything below `root`, hidden or not, with the bytes of files.
fn snapshot(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(Result::unwrap);
    let describe = |entry: walkdir::DirEntry| {
        let relative = entry.path().strip_prefix(root).unwrap().to_owned();
        let bytes = entry.file_type().is_file().then(|| fs::read(entry.path()).unwrap());
        (relative, bytes)
    };
    entries.map(describe).collect()
}

fn demo_sha256() -> String {
    wcodec::hex(&Sha256::digest(DEMO_CHECKPOINT))
}

/// Sum of one field over an array of objects.
fn sum(array: &Value, field: &str) -> u64 {
    array.as_array().unwrap().iter().map(|entry| entry[field].as_u64().unwrap()).sum()
}

#[test]
fn file_encodes_verifies_and_decodes() {
    let place = Workplace::new();
    place
        .run(&["encode", "m.safetensors"])
        .success()
        .stderr(is_empty())
        .stdout(contains("m.safetensors.wcodec").and(contains("1,434,525 bytes")))
        .stdout(contains(demo_sha256()));
    place
        .run(&["verify", "m.safetensors.wcodec", "--against", "m.safetensors"])
        .success()
        .stdout(contains("decodes to exactly m.safetensors"));
    fs::remove_file(place.path("m.safetensors")).unwrap();
    place
        .run(&["decode", "m.safetensors.wcodec"])
        .success()
        .stdout(contains(demo_sha256()).and(contains("1,434,525 bytes")));
    assert!(place.read("m.safetensors") == DEMO_CHECKPOINT);
}

#[test]
fn the_sha256_is_compared_unless_it_is_left_out() {
    let place = Workplace::encoded();
    for command in ["verify", "decode"] {
        let with = [command, "m.safetensors.wcodec", "-f"];
        place.run(&with).success().stdout(contains("not compared").not());
        let without = [command, "m.safetensors.wcodec", "-f", "--no-sha256"];
        let note = format!("{} (not compared)", demo_sha256());
        place.run(&without).success().stdout(contains(note));
    }
    assert!(place.read("m.safetensors") == DEMO_CHECKPOINT);
    let place = Workplace::with_model();
    place.run(&["encode", "model"]).success();
    let directory = ["verify", "model-wcodec", "--no-sha256"];
    place.fails(&directory, ErrorKind::InvalidInput, "name one of its files");
}

#[test]
fn encode_options_reach_the_encoder() {
    let place = Workplace::new();
    let arguments = ["encode", "m.safetensors", "-o", "x", "--block-elements", "1024"];
    place.run(&[&arguments[..], &["--states-per-lane", "2", "--threads", "1"]].concat()).success();
    place.run(&["encode", "m.safetensors", "-o", "y"]).success();
    assert!(place.read("x").len() > place.read("y").len());
    place.run(&["decode", "x", "-o", "z"]).success();
    assert!(place.read("z") == DEMO_CHECKPOINT);
}

#[test]
fn json_of_encode_decode_and_verify_describes_the_file() {
    let place = Workplace::new();
    let encode = place.json(
        &["encode", "m.safetensors"],
        "command input output original_bytes encoded_bytes ratio sha256 seconds tensors dtypes",
    );
    let decode = place.json(
        &["decode", "m.safetensors.wcodec", "-o", "back"],
        "command input output original_bytes encoded_bytes ratio sha256 seconds tensors device",
    );
    let verify = place.json(
        &["verify", "m.safetensors.wcodec"],
        "command input against original_bytes encoded_bytes ratio sha256 seconds tensors chunks device",
    );
    let encoded_bytes = place.read("m.safetensors.wcodec").len();
    for value in [&encode, &decode, &verify] {
        assert_eq!(value["sha256"], demo_sha256());
        assert_eq!(value["original_bytes"], DEMO_CHECKPOINT.len());
        assert_eq!(value["encoded_bytes"], encoded_bytes);
        assert_eq!(value["tensors"], encode["tensors"]);
        assert!(value["seconds"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(encode["output"], "m.safetensors.wcodec");
    assert_eq!(decode["output"], "back");
    assert_eq!(verify["against"], Value::Null);
    assert_eq!(sum(&encode["dtypes"], "tensors"), encode["tensors"].as_u64().unwrap());
}

/// The binary starts without a driver, says so, and decodes on the CPU; with one it uses the GPU.
#[test]
fn the_same_binary_runs_with_and_without_a_gpu() {
    let place = Workplace::encoded();
    let gpu = place.json(&["gpu"], "command devices reason");
    let devices = gpu["devices"].as_array().unwrap();
    assert_eq!(devices.is_empty(), gpu["reason"].is_string());
    let arguments = ["decode", "m.safetensors.wcodec", "-o", "auto", "--device", "auto"];
    let keys =
        "command input output original_bytes encoded_bytes ratio sha256 seconds tensors device";
    let decoded = place.json(&arguments, keys);
    assert_eq!(place.read("auto"), DEMO_CHECKPOINT);
    let device = decoded["device"].as_str().unwrap();
    if devices.is_empty() {
        assert!(device.starts_with("the CPU (the GPU cannot"), "{device}");
        let refused = ["decode", "m.safetensors.wcodec", "-o", "gpu", "--device", "cuda:0"];
        place.run(&refused).failure().code(12).stderr(contains("the GPU cannot be used"));
        assert!(!place.0.path().join("gpu").exists());
    } else if devices[0]["supported"] == true {
        assert!(device.starts_with("cuda:0"), "{device}");
    }
}

#[test]
fn load_reports_what_it_took_and_resident_what_it_tried() {
    let place = Workplace::encoded();
    let load = |more: &[&'static str]| {
        [&["load", "m.safetensors.wcodec", "--device", "cpu"], more].concat()
    };
    let keys = "command file device device_seconds runs compared host_peak_bytes";
    let loaded = place.json(&load(&["--repeat", "2", "--compare"]), keys);
    let run = &loaded["runs"][1];
    assert_eq!((run["checksums"].as_bool(), run["pinned_bytes"].as_u64()), (Some(true), Some(0)));
    let half = place.json(&load(&["--shard", "0/2", "--along", "fp32.*=0"]), keys);
    assert!(half["runs"][0]["tensor_bytes"].as_u64() < run["tensor_bytes"].as_u64());
    assert!(half["runs"][0]["file_bytes"].as_u64() <= run["file_bytes"].as_u64());

    let keys = "command file device device_seconds open_seconds seconds compressed_bytes device_bytes tensor_bytes host_peak_bytes";
    let all = place.json(&load(&["--resident"]), keys);
    assert_eq!(all["tensor_bytes"], run["tensor_bytes"]);
    let some = place.json(&load(&["--resident", "--tensors", "fp32.*"]), keys);
    assert!(some["tensor_bytes"].as_u64() < all["tensor_bytes"].as_u64());
    place.run(&load(&["--resident"])).success().stdout(contains("none tried yet"));
    place.run(&load(&["--resident", "--tensors", "x*"])).failure().stderr(contains("x*"));
}

#[test]
fn inspect_lists_every_tensor() {
    let place = Workplace::encoded();
    let name = "bf16.encoder.layer.0.attention.self.query.weight";
    place
        .run(&["inspect", "m.safetensors.wcodec"])
        .success()
        .stdout(contains(name).and(contains("[192, 384]")).and(contains("147,456")))
        .stdout(contains("format version 1").and(contains(demo_sha256())));
    let value = place.json(
        &["inspect", "m.safetensors.wcodec"],
        "command file format_version original_bytes encoded_bytes ratio sha256 base_sha256 tables tensors dtypes",
    );
    assert_eq!(value["format_version"], 1);
    assert_eq!(value["sha256"], demo_sha256());
    let tensors = value["tensors"].as_array().unwrap();
    for tensor in tensors {
        let keys = "name dtype shape original_bytes encoded_bytes ratio copy_of plans tile_modes \
                    explanation";
        assert_keys(tensor, keys);
        assert!(tensor["explanation"].is_null());
    }
    for dtype in value["dtypes"].as_array().unwrap() {
        assert_keys(dtype, "dtype tensors original_bytes encoded_bytes ratio");
    }
    let tensor = tensors.iter().find(|tensor| tensor["name"] == name).unwrap();
    assert_eq!(tensor["dtype"], "BF16");
    assert_eq!(tensor["shape"], serde_json::json!([192, 384]));
    assert_eq!(tensor["original_bytes"], 192 * 384 * 2);
    assert_eq!(sum(&tensor["plans"], "blocks"), 2);
    for field in ["original_bytes", "encoded_bytes"] {
        assert_eq!(sum(&value["dtypes"], field), sum(&value["tensors"], field));
    }
}

#[test]
fn inspect_explains_what_tools_save() {
    let place = Workplace::encoded();
    let explain = ["inspect", "m.safetensors.wcodec", "--explain"];
    place.run(&explain).success().stdout(contains("Order-0 bits").and(contains("Saved by")));
    let output = place.run(&[&explain[..], &["--json"]].concat()).success();
    let value: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    for tensor in value["tensors"].as_array().unwrap() {
        let explanation = &tensor["explanation"];
        assert_keys(explanation, "order0_bits stored_bits other_bits tools");
        assert_eq!(sum(&explanation["tools"], "stored_bytes"), tensor["encoded_bytes"]);
        for tool in explanation["tools"].as_array().unwrap() {
            assert_keys(tool, "tool blocks order0_bytes stored_bytes saved_bytes");
        }
    }
}

#[test]
fn a_checkpoint_is_stored_against_its_base() {
    let place = Workplace::new();
    let mut tuned = DEMO_CHECKPOINT.to_vec();
    // The last bytes of the file are a tensor's.
    *tuned.last_mut().unwrap() ^= 1;
    fs::write(place.path("tuned.safetensors"), &tuned).unwrap();
    place.run(&["encode", "tuned.safetensors", "--base", "m.safetensors"]).success();
    assert!(place.read("tuned.safetensors.wcodec").len() < tuned.len() / 100);
    let base = place.json(
        &["inspect", "tuned.safetensors.wcodec"],
        "command file format_version original_bytes encoded_bytes ratio sha256 base_sha256 tables tensors dtypes",
    );
    assert_eq!(base["base_sha256"], demo_sha256());
    place.run(&["inspect", "tuned.safetensors.wcodec"]).success().stdout(contains("with base"));

    let decode = ["decode", "tuned.safetensors.wcodec", "-o", "back"];
    let verify = ["verify", "tuned.safetensors.wcodec"];
    for command in [&decode[..], &verify] {
        place.fails(command, ErrorKind::InvalidInput, &demo_sha256());
        let wrong = [command, &["--base", "tuned.safetensors"]].concat();
        place.fails(&wrong, ErrorKind::Mismatch, "is not the base of");
        let missing = [command, &["--base", "none.safetensors"]].concat();
        place.fails(&missing, ErrorKind::Io, "none.safetensors");
        place.run(&[command, &["--base", "m.safetensors"]].concat()).success();
    }
    assert!(place.read("back") == tuned);

    // An encoded base stands for its original.
    place.run(&["encode", "m.safetensors"]).success();
    let encoded_base = ["--force", "--base", "m.safetensors.wcodec"];
    place.run(&[&decode[..], &encoded_base].concat()).success();
    assert!(place.read("back") == tuned);
    let over_base = ["decode", "tuned.safetensors.wcodec", "-f", "-o", "m.safetensors"];
    let over_base = [&over_base[..], &["--base", "m.safetensors"]].concat();
    place.fails(&over_base, ErrorKind::InvalidInput, "choose another name");
}

#[test]
fn directories_take_no_base() {
    let place = Workplace::with_model();
    let base = ["--base", "model/m.safetensors"];
    let encode = [&["encode", "model"], &base[..]].concat();
    place.fails(&encode, ErrorKind::InvalidInput, "only files");
}

#[test]
fn demo_shows_sizes_per_dtype() {
    let place = Workplace::new();
    place
        .run(&["demo"])
        .success()
        .stderr(is_empty())
        .stdout(contains("BF16").and(contains("Total")).and(contains("identical")))
        .stdout(predicate::str::is_match(r"ratio 1\.\d{4}\.").unwrap());
    let value = place.json(
        &["demo"],
        "command original_bytes encoded_bytes ratio sha256 encode_seconds decode_seconds identical \
         dtypes",
    );
    assert_eq!(value["sha256"], demo_sha256());
    assert_eq!(value["identical"], true);
    let dtypes = value["dtypes"].as_array().unwrap();
    let bf16 = dtypes.iter().find(|dtype| dtype["dtype"] == "BF16").unwrap();
    assert!(bf16["ratio"].as_f64().unwrap() > 1.4);
}

#[test]
fn demo_leaves_nothing_in_the_temporary_directory() {
    let place = Workplace::new();
    fs::create_dir(place.path("temporary")).unwrap();
    place.command(&["demo"]).env("TMPDIR", place.path("temporary")).assert().success();
    assert_eq!(fs::read_dir(place.path("temporary")).unwrap().count(), 0);
}

#[test]
fn directory_makes_the_round_trip() {
    let place = Workplace::with_model();
    let keys = "command input output original_bytes encoded_bytes ratio seconds checkpoints copied \
                files";
    let encode = place.json(&["encode", "model/"], keys);
    assert_eq!(encode["output"], "model-wcodec");
    assert_eq!((&encode["checkpoints"], &encode["copied"]), (&2.into(), &1.into()));
    assert_eq!(sum(&encode["files"], "original_bytes"), 2 * DEMO_CHECKPOINT.len() as u64 + 2);
    assert_eq!(encode["files"][0]["sha256"], demo_sha256());
    assert_eq!(encode["files"][1]["path"], "nested/config.json");
    assert_eq!(encode["files"][1]["sha256"], Value::Null);
    assert!(place.path("model-wcodec/nested/n.safetensors.wcodec").is_file());
    assert!(place.path("model-wcodec/nested/config.json").is_file());

    let verify = ["verify", "model-wcodec", "--against", "model"];
    let verify = place.json(&verify, &keys.replace("output", "against"));
    assert_eq!(verify["encoded_bytes"], encode["encoded_bytes"]);
    place.run(&["verify", "model-wcodec"]).success().stdout(contains("Checkpoints: 2"));

    let before = snapshot(&place.path("model"));
    fs::remove_dir_all(place.path("model")).unwrap();
    place.run(&["decode", "model-wcodec"]).success().stdout(contains("other files: 1"));
    assert_eq!(snapshot(&place.path("model")), before);
}

/// With as many threads several files are under way at a time, here as many as there are.
#[test]
fn directory_is_the_same_by_many_threads_and_by_one() {
    let place = Workplace::with_model();
    place.run(&["encode", "model", "-o", "by-one", "--threads", "1"]).success();
    place.run(&["encode", "model", "-o", "by-many", "--threads", "16"]).success();
    assert!(snapshot(&place.path("by-one")) == snapshot(&place.path("by-many")));
    place
        .run(&["verify", "by-many", "--against", "model", "--threads", "16"])
        .success()
        .stdout(contains("Checkpoints: 2"));
    place.run(&["decode", "by-many", "-o", "back", "--threads", "16"]).success();
    assert!(snapshot(&place.path("back")) == snapshot(&place.path("model")));

    let damaged = place.path("by-many/nested/n.safetensors.wcodec");
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let decode = ["decode", "by-many", "-o", "damaged", "--threads", "16"];
    place.fails(&decode, ErrorKind::Corrupt, "n.safetensors.wcodec");
    assert!(!place.path("damaged").exists());
}

/// The thread of `main` then is the only one that encodes and decodes: whoever waits for that while it waits
/// for them, waits for ever.
#[test]
fn one_thread_is_enough_for_every_command() {
    let place = Workplace::with_model();
    for arguments in [
        &["encode", "model/m.safetensors", "-o", "m.wcodec"][..],
        &["decode", "m.wcodec", "-o", "decoded"],
        &["verify", "m.wcodec", "--against", "model/m.safetensors"],
        &["inspect", "m.wcodec", "--explain"],
        &["load", "m.wcodec", "--device", "cpu"],
        &["encode", "model"],
        &["verify", "model-wcodec"],
        &["decode", "model-wcodec", "-o", "back"],
        &["bench", "model/m.safetensors", "--runs", "1"],
        &["demo"],
    ] {
        let mut command = place.command(arguments);
        let limit = std::time::Duration::from_secs(120);
        command.args(["--threads", "1"]).timeout(limit).assert().success();
    }
    assert!(place.read("decoded") == DEMO_CHECKPOINT);
    assert!(snapshot(&place.path("back")) == snapshot(&place.path("model")));
}

#[test]
fn directory_errors_change_nothing() {
    let place = Workplace::with_model();
    place.run(&["encode", "model"]).success();
    place.fails(&["encode", "model"], ErrorKind::TargetExists, "--force");
    place.fails(&["decode", "model-wcodec"], ErrorKind::TargetExists, "--force");
    place.fails(&["encode", "model-wcodec", "-o", "x"], ErrorKind::InvalidInput, ".wcodec already");
    place.fails(&["encode", "model", "-o", "model", "-f"], ErrorKind::InvalidInput, "input itself");
    place.fails(&["encode", "model", "-o", "model/x"], ErrorKind::InvalidInput, "inside the input");
    place.fails(&["decode", "model"], ErrorKind::InvalidInput, "-o");
    place.fails(&["encode", "."], ErrorKind::InvalidInput, "-o");
    place.fails(&["inspect", "model-wcodec"], ErrorKind::InvalidInput, "name a file");
    fs::write(place.path("model/nested/config.json"), "[]").unwrap();
    let compare = ["verify", "model-wcodec", "--against", "model"];
    place.fails(&compare, ErrorKind::Mismatch, "config.json");
    place.run(&["encode", "model", "--force"]).success();
    place.run(&compare).success();
}

#[test]
fn existing_file_is_replaced_only_with_force() {
    let place = Workplace::encoded();
    place.fails(&["encode", "m.safetensors"], ErrorKind::TargetExists, "--force");
    place.fails(&["decode", "m.safetensors.wcodec"], ErrorKind::TargetExists, "--force");
    fs::write(place.path("m.safetensors"), "changed").unwrap();
    place.run(&["decode", "m.safetensors.wcodec", "--force"]).success();
    assert!(place.read("m.safetensors") == DEMO_CHECKPOINT);
}

#[test]
fn output_is_never_the_input() {
    let place = Workplace::encoded();
    for output in ["m.safetensors", "./m.safetensors"] {
        let arguments = ["encode", "m.safetensors", "-o", output, "--force"];
        place.fails(&arguments, ErrorKind::InvalidInput, "input itself");
    }
    let decode = ["decode", "m.safetensors.wcodec", "-o", "m.safetensors.wcodec", "--force"];
    place.fails(&decode, ErrorKind::InvalidInput, "input itself");
}

#[test]
fn damaged_input_has_its_statuses_and_no_output() {
    let place = Workplace::encoded();
    let whole = place.read("m.safetensors.wcodec");
    let damaged = |change: &dyn Fn(&mut Vec<u8>), kind: ErrorKind, says: &str| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(place.path("damaged"), bytes).unwrap();
        place.fails(&["decode", "damaged", "-o", "back"], kind, says);
        place.fails(&["verify", "damaged"], kind, says);
    };
    damaged(&|bytes| bytes.truncate(10), ErrorKind::Truncated, "cut short");
    damaged(&|bytes| bytes.truncate(9000), ErrorKind::Truncated, "cut off");
    damaged(&|bytes| bytes[9000] ^= 4, ErrorKind::Corrupt, "checksum");
    damaged(&|bytes| bytes[8] = 99, ErrorKind::Unsupported, "version 99");
}

#[test]
fn unusable_input_has_its_statuses_and_no_output() {
    let place = Workplace::encoded();
    fs::write(place.path("text.safetensors"), "no tensors in here").unwrap();
    place.fails(&["encode", "text.safetensors"], ErrorKind::InvalidInput, "text.safetensors");
    place.fails(&["encode", "nowhere"], ErrorKind::Io, "nowhere");
    place.fails(&["decode", "nowhere.wcodec"], ErrorKind::Io, "nowhere.wcodec");
    place.fails(&["inspect", "m.safetensors"], ErrorKind::Corrupt, ".wcodec file");
    place.fails(&["decode", "m.safetensors"], ErrorKind::InvalidInput, "name the output with -o");
    let blocks = ["encode", "m.safetensors", "-f", "--block-elements", "1000"];
    place.fails(&blocks, ErrorKind::InvalidInput, "1000");
    let states = ["encode", "m.safetensors", "-f", "--states-per-lane", "3"];
    place.fails(&states, ErrorKind::InvalidInput, "3");
    let missing_folder = ["encode", "m.safetensors", "-o", "nowhere/x"];
    place.fails(&missing_folder, ErrorKind::Io, "nowhere");
}

#[test]
fn difference_from_the_original_has_its_status() {
    let place = Workplace::encoded();
    let mut other = DEMO_CHECKPOINT.to_vec();
    other[1_000_000] ^= 1;
    fs::write(place.path("other"), other).unwrap();
    let arguments = ["verify", "m.safetensors.wcodec", "--against", "other"];
    place.fails(&arguments, ErrorKind::Mismatch, "offset 1000000");
}

#[test]
fn wrong_usage_has_status_2() {
    let place = Workplace::new();
    let wrong: [&[&str]; 5] = [
        &[],
        &["compress"],
        &["encode"],
        &["encode", "m.safetensors", "--fast"],
        &["demo", "--threads", "many"],
    ];
    for arguments in wrong {
        place.run(arguments).code(2).stdout(is_empty()).stderr(contains("--help"));
    }
}

#[test]
fn help_explains_with_examples() {
    let place = Workplace::new();
    let statuses = contains("Exit status:").and(contains("12  the GPU failed"));
    place.run(&["--help"]).success().stdout(contains("wcodec demo").and(statuses));
    for subcommand in ["encode", "decode", "inspect", "verify"] {
        let example = contains(format!("Examples:\n  wcodec {subcommand} "));
        place.run(&[subcommand, "--help"]).success().stdout(example.and(contains("JSON keys")));
    }
    let version = format!("wcodec {}\n", env!("CARGO_PKG_VERSION"));
    place.run(&["--version"]).success().stdout(version);
}

#[test]
fn quiet_silences_results_but_not_json_and_errors() {
    let place = Workplace::new();
    place.run(&["encode", "m.safetensors", "--quiet"]).success().stdout(is_empty());
    place.fails(&["encode", "m.safetensors", "--quiet"], ErrorKind::TargetExists, "--force");
    place.run(&["verify", "m.safetensors.wcodec", "-q", "--json"]).success().stdout(contains("{"));
}

#[test]
fn reader_that_left_is_no_error() {
    let place = Workplace::encoded();
    for arguments in [&["inspect", "m.safetensors.wcodec"][..], &["demo", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("wcodec"))
            .args(arguments)
            .current_dir(place.0.path())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn full_standard_output_is_an_error() {
    let place = Workplace::encoded();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("wcodec"))
        .args(["inspect", "m.safetensors.wcodec"])
        .current_dir(place.0.path())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(i32::from(ErrorKind::Io.exit_code())));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}

/// A hostile file must not be able to drive the terminal of whoever looks at it.
#[test]
fn control_characters_in_names_are_escaped() {
    let place = Workplace::new();
    let header = br#"{"a\u001b[31m":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([1, 2]);
    fs::write(place.path("x.safetensors"), file).unwrap();
    place.run(&["encode", "x.safetensors"]).success();
    place
        .run(&["inspect", "x.safetensors.wcodec"])
        .success()
        .stdout(contains("a\\u{1b}[31m").and(contains("\u{1b}").not()));
}
