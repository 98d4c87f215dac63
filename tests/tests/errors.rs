//! Every mistake and every damage that a user meets has its message, and leaves no output behind.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wcodec::safetensors::Dtype;
use wcodec::{
    Checkpoint, EncodeOptions, Error, ErrorKind, RestoreOptions, Result, encode_safetensors,
    encode_safetensors_bytes,
};
use wcodec_tests::{Pattern, Random, TestTensor, safetensors_file};

/// A folder, to see what an operation leaves behind.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Checks that there is nothing but files with these names, hidden files included.
    #[track_caller]
    fn assert_holds_only(&self, names: &[&str]) {
        let mut found: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, names);
    }
}

#[track_caller]
fn assert_fails<T>(result: Result<T>, kind: ErrorKind, parts: &[&str]) {
    let error = result.err().expect("it works, and should not");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

/// Two tensors with several chunks each, names `first` and `second`.
fn tensors() -> Vec<TestTensor> {
    let random = &mut Random::new(41);
    let mut tensor =
        |name| TestTensor::new(name, Dtype::BF16, &[1_700_003], Pattern::Gaussian, random);
    vec![tensor("model.first.weight"), tensor("model.second.weight")]
}

fn encoded() -> Vec<u8> {
    let file = safetensors_file(&tensors()).unwrap();
    encode_safetensors_bytes(&file, &EncodeOptions::default()).unwrap().0
}

fn encode(input: &Path, output: &Path) -> Result<()> {
    encode_safetensors(input, output, &EncodeOptions::default()).map(drop)
}

fn restore(input: &Path, output: &Path) -> Result<()> {
    Checkpoint::open(input)?.restore(output, &RestoreOptions::default())
}

/// Restoring `bytes` fails with this message and leaves nothing behind.
#[track_caller]
fn assert_restore_fails(bytes: &[u8], kind: ErrorKind, parts: &[&str]) {
    let folder = Folder::new();
    let input = folder.write("m.wcodec", bytes);
    assert_fails(restore(&input, &folder.path("out.safetensors")), kind, parts);
    folder.assert_holds_only(&["m.wcodec"]);
}

/// Encoding a file with this header JSON and `data` bytes fails and leaves nothing behind.
#[track_caller]
fn assert_encode_fails(json: &str, data: usize, kind: ErrorKind, parts: &[&str]) {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    file.resize(file.len() + data, 7);
    let folder = Folder::new();
    let input = folder.write("m.safetensors", &file);
    let parts = [parts, &["m.safetensors"]].concat();
    assert_fails(encode(&input, &folder.path("m.wcodec")), kind, &parts);
    folder.assert_holds_only(&["m.safetensors"]);
}

#[test]
fn a_truncated_file() {
    let encoded = encoded();
    let cut = &encoded[..encoded.len() / 2];
    assert_restore_fails(cut, ErrorKind::Truncated, &["m.wcodec", "cut off", "copy it again"]);
    assert_restore_fails(&encoded[..60], ErrorKind::Truncated, &["m.wcodec", "cut short", "60"]);
    assert_restore_fails(&[], ErrorKind::Truncated, &["m.wcodec", "cut short"]);
}

#[test]
fn a_damaged_payload_names_tensor_and_chunk() {
    let mut damaged = encoded();
    // The second tensor has the second half of the file; this lies in its second chunk.
    let at = damaged.len() * 9 / 10;
    damaged[at] ^= 0x10;
    let parts = ["tensor \"model.second.weight\"", "chunk 1", "file offset", "checksum"];
    assert_restore_fails(&damaged, ErrorKind::Corrupt, &parts);
    let checkpoint = Checkpoint::from_bytes(damaged).unwrap();
    assert_fails(checkpoint.verify(None), ErrorKind::Corrupt, &parts);
    let second = checkpoint.tensor("model.second.weight").unwrap();
    assert_fails(second.decode(), ErrorKind::Corrupt, &parts);
    // What lies in other chunks still decodes.
    let first = checkpoint.tensor("model.first.weight").unwrap();
    assert!(first.decode().unwrap().as_bytes() == tensors()[0].bytes);
    assert!(second.decode_range(0..100).unwrap().as_bytes() == &tensors()[1].bytes[..200]);
}

#[test]
fn a_damaged_index() {
    let mut damaged = encoded();
    let at = damaged.len() - 64 - 10;
    damaged[at] ^= 1;
    assert_restore_fails(&damaged, ErrorKind::Corrupt, &["m.wcodec", "the index", "checksum"]);
}

#[test]
fn a_newer_version() {
    let mut newer = encoded();
    newer[8] = 7;
    let parts = ["m.wcodec", "format version 7", "versions up to 1", "update wcodec"];
    assert_restore_fails(&newer, ErrorKind::Unsupported, &parts);
}

#[test]
fn a_file_of_another_kind() {
    let other = wcodec::DEMO_CHECKPOINT;
    assert_restore_fails(other, ErrorKind::Corrupt, &["m.wcodec", "not begin like a .wcodec file"]);
}

#[test]
fn bytes_that_dont_fit_dtype_and_shape() {
    assert_encode_fails(
        r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,8]}}"#,
        8,
        ErrorKind::InvalidInput,
        &["\"w\"", "dtype F32", "[2, 2]", "needs 16 bytes", "give it 8"],
    );
    assert_encode_fails(
        r#"{"w":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#,
        2,
        ErrorKind::InvalidInput,
        &["\"w\"", "does not fill whole bytes"],
    );
}

#[test]
fn tensors_that_overlap() {
    assert_encode_fails(
        r#"{"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},
            "b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
        8,
        ErrorKind::InvalidInput,
        &["tensors \"a\" and \"b\" overlap"],
    );
}

#[test]
fn a_tensor_beyond_the_file() {
    assert_encode_fails(
        r#"{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}"#,
        8,
        ErrorKind::Truncated,
        &["\"a\" ends at byte 9", "the file has 8", "copy it again"],
    );
}

#[test]
fn a_tensor_that_ends_before_it_starts() {
    assert_encode_fails(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[8,4]}}"#,
        8,
        ErrorKind::InvalidInput,
        &["\"a\" ends at 4, before its start at 8"],
    );
}

#[test]
fn a_name_that_occurs_twice() {
    assert_encode_fails(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
            "a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
        8,
        ErrorKind::InvalidInput,
        &["the name \"a\" occurs twice"],
    );
}

#[test]
fn bytes_that_belong_to_no_tensor() {
    assert_encode_fails(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
        8,
        ErrorKind::InvalidInput,
        &["4 byte(s) before tensor \"a\" belong to no tensor"],
    );
    assert_encode_fails(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
        8,
        ErrorKind::InvalidInput,
        &["last 4 byte(s) belong to no tensor"],
    );
}

#[test]
fn a_header_that_is_no_header() {
    let kind = ErrorKind::InvalidInput;
    assert_encode_fails(r#"{"a":{"dtype":"U8"}}"#, 0, kind, &["not the expected JSON", "shape"]);
    assert_encode_fails("[]", 0, kind, &["does not start with an opening brace"]);
    let folder = Folder::new();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    let input = folder.write("m.safetensors", pointer);
    let parts = ["Git LFS pointer", "git lfs pull"];
    assert_fails(encode(&input, &folder.path("m.wcodec")), kind, &parts);
    folder.assert_holds_only(&["m.safetensors"]);
}

#[test]
fn a_target_that_exists_is_left_alone() {
    let folder = Folder::new();
    let original = safetensors_file(&[]).unwrap();
    let input = folder.write("m.safetensors", &original);
    let taken = folder.write("taken", b"precious");
    let parts = ["taken", "already exists", "--force"];
    assert_fails(encode(&input, &taken), ErrorKind::TargetExists, &parts);
    let encoded = folder.path("m.wcodec");
    encode(&input, &encoded).unwrap();
    assert_fails(restore(&encoded, &taken), ErrorKind::TargetExists, &parts);
    assert_eq!(fs::read(&taken).unwrap(), b"precious");
    folder.assert_holds_only(&["m.safetensors", "m.wcodec", "taken"]);

    let options = RestoreOptions { overwrite: true, ..RestoreOptions::default() };
    Checkpoint::open(&encoded).unwrap().restore(&taken, &options).unwrap();
    assert_eq!(fs::read(&taken).unwrap(), original);
}

#[test]
fn a_failed_overwrite_leaves_the_old_file() {
    let folder = Folder::new();
    let mut damaged = encoded();
    damaged[4096 + 1000] ^= 1;
    let input = folder.write("m.wcodec", &damaged);
    let output = folder.write("out.safetensors", b"precious");
    let options = RestoreOptions { overwrite: true, ..RestoreOptions::default() };
    let result = Checkpoint::open(input).unwrap().restore(&output, &options);
    assert_fails(result, ErrorKind::Corrupt, &["model.first.weight", "chunk 0"]);
    assert_eq!(fs::read(&output).unwrap(), b"precious");
    folder.assert_holds_only(&["m.wcodec", "out.safetensors"]);
}

#[test]
fn an_input_that_is_not_there_or_is_a_folder() {
    let folder = Folder::new();
    let missing = folder.path("missing");
    let output = folder.path("out");
    let parts = ["cannot open", "missing", "check that the path is right"];
    assert_fails(encode(&missing, &output), ErrorKind::Io, &parts);
    assert_fails(restore(&missing, &output), ErrorKind::Io, &parts);
    let parts = ["not a regular file", "name a file"];
    assert_fails(restore(folder.0.path(), &output), ErrorKind::InvalidInput, &parts);
    folder.assert_holds_only(&[]);
}

#[test]
fn a_target_in_a_folder_that_is_not_there() {
    let folder = Folder::new();
    let input = folder.write("m.safetensors", &safetensors_file(&[]).unwrap());
    let output = folder.path("nowhere").join("m.wcodec");
    let parts = ["cannot create a file in", "nowhere", "its directory exists"];
    assert_fails(encode(&input, &output), ErrorKind::Io, &parts);
    folder.assert_holds_only(&["m.safetensors"]);
}

#[test]
fn a_tensor_name_that_is_nearly_right() {
    let checkpoint = Checkpoint::from_bytes(encoded()).unwrap();
    let parts = ["no tensor named \"model.frist.weight\"", "did you mean \"model.first.weight\""];
    assert_fails(checkpoint.tensor("model.frist.weight"), ErrorKind::NotFound, &parts);
    let parts = ["no tensor named \"xyz\"", "list its tensors"];
    assert_fails(checkpoint.tensor("xyz"), ErrorKind::NotFound, &parts);
}

#[test]
fn arguments_out_of_range() {
    let kind = ErrorKind::InvalidInput;
    let file = safetensors_file(&[]).unwrap();
    for block_elements in [0, 512, 3000, 1 << 18] {
        let options = EncodeOptions { block_elements, ..EncodeOptions::default() };
        let parts = ["block_elements", "multiple of 1024 up to 131072"];
        assert_fails(encode_safetensors_bytes(&file, &options), kind, &parts);
    }
    let options = EncodeOptions { states_per_lane: 3, ..EncodeOptions::default() };
    let parts = ["states_per_lane", "neither 1 nor 2"];
    assert_fails(encode_safetensors_bytes(&file, &options), kind, &parts);

    let checkpoint = Checkpoint::from_bytes(encoded()).unwrap();
    let tensor = checkpoint.tensor("model.first.weight").unwrap();
    let parts = ["the range 0..1700004", "has 1700003 elements"];
    assert_fails(tensor.decode_range(0..1_700_004), kind, &parts);
    let reversed = std::ops::Range { start: 5, end: 4 };
    assert_fails(tensor.decode_range(reversed), kind, &["the range 5..4"]);
    let parts = ["an output of 10 bytes", "has 3400006 bytes"];
    assert_fails(tensor.decode_into(&mut [0; 10]), kind, &parts);
}

#[test]
fn a_file_that_is_not_the_original() {
    let folder = Folder::new();
    let mut original = safetensors_file(&tensors()).unwrap();
    let checkpoint = Checkpoint::from_bytes(encoded()).unwrap();
    let input = folder.write("same", &original);
    assert_eq!(checkpoint.verify_against(&input, None).unwrap().tensors, 2);
    original[1_000_000] ^= 1;
    let input = folder.write("other", &original);
    let parts = ["other", "the byte at offset 1000000"];
    assert_fails(checkpoint.verify_against(&input, None), ErrorKind::Mismatch, &parts);
    let input = folder.write("shorter", &original[1..]);
    let parts = ["shorter", "decodes to", "the other file has"];
    assert_fails(checkpoint.verify_against(&input, None), ErrorKind::Mismatch, &parts);
}

/// Says to [`a_disk_that_takes_no_more`] that it is the child, and where to work.
#[cfg(unix)]
const LIMITED_FOLDER: &str = "WCODEC_TESTS_LIMITED_FOLDER";

/// A limit on file sizes stands in for a full disk, which a test cannot ask for: the write in the
/// middle of the output fails in either case. Shells set limits, so a shell runs this test again.
#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_more() {
    if let Some(folder) = std::env::var_os(LIMITED_FOLDER) {
        let folder = PathBuf::from(folder);
        let error = encode(&folder.join("m.safetensors"), &folder.join("m.wcodec")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        let message = error.to_string();
        assert!(message.contains("cannot write") && message.contains("m.wcodec"), "{message}");
        let error = restore(&folder.join("whole.wcodec"), &folder.join("out")).unwrap_err();
        assert!(matches!(error, Error::Io { action, path, .. }
            if action == "write" && path == folder.join("out")));
        return;
    }
    let folder = Folder::new();
    folder.write("m.safetensors", &safetensors_file(&tensors()).unwrap());
    folder.write("whole.wcodec", &encoded());
    // At most 256 blocks of 512 or 1024 bytes, by the shell; the signal is for those who ignore
    // the error.
    let script = "trap '' XFSZ; ulimit -f 256; exec \"$0\" --exact a_disk_that_takes_no_more";
    let status = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED_FOLDER, folder.0.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    folder.assert_holds_only(&["m.safetensors", "whole.wcodec"]);
}
