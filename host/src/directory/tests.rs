//! Directories on real file systems: round trips, refusals, and what errors leave behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::*;
use crate::DEMO_CHECKPOINT;
use crate::error::ErrorKind;

/// A `.safetensors` file with one U8 tensor of 251 bytes that begin with `first`.
fn small_checkpoint(first: u8) -> Vec<u8> {
    let header = br#"{"t":{"dtype":"U8","shape":[251],"data_offsets":[0,251]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend((0..251).map(|value: u8| value.wrapping_add(first)));
    file
}

/// A model with two shards, one of them nested, other files and an empty directory.
fn model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join("model").join(name);
    fs::create_dir_all(path("nested/deep")).unwrap();
    fs::create_dir(path("empty")).unwrap();
    fs::write(path("model-1.safetensors"), DEMO_CHECKPOINT).unwrap();
    fs::write(path("nested/deep/model-2.safetensors"), small_checkpoint(7)).unwrap();
    fs::write(path("model.safetensors.index.json"), "{\"weight_map\": {}}").unwrap();
    fs::write(path("nested/vocabulary.txt"), "").unwrap();
    folder
}

/// Every path below `root` with a file's bytes, or none for a directory.
fn contents(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let tree = Tree::read(root).unwrap();
    let directories = tree.directories.iter().map(|path| (path.clone(), None));
    let read = |file: &TreeFile| (file.relative.clone(), Some(fs::read(tree.path(file)).unwrap()));
    directories.chain(tree.files.iter().map(read)).collect()
}

/// Sorted names of everything in `directory`, hidden or not.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn encode(folder: &TempDir) -> Result<DirectoryReport> {
    let (input, output) = (folder.path().join("model"), folder.path().join("small"));
    encode_directory(input, output, &EncodeOptions::default())
}

fn restore(folder: &TempDir) -> Result<DirectoryReport> {
    let (input, output) = (folder.path().join("small"), folder.path().join("back"));
    restore_directory(input, output, &RestoreOptions::default())
}

/// Encoding fails, says what and leaves nothing.
fn assert_encode_fails(folder: &TempDir, kind: ErrorKind, says: &str) {
    let before = names(folder.path());
    let error = encode(folder).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(names(folder.path()), before);
}

#[test]
fn restores_the_identical_tree() {
    let folder = model();
    let report = encode(&folder).unwrap();
    let small = folder.path().join("small");
    let encoded_files: Vec<PathBuf> =
        Tree::read(&small).unwrap().files.into_iter().map(|file| file.relative).collect();
    let expected = [
        "model-1.safetensors.wcodec",
        "model.safetensors.index.json",
        "nested/deep/model-2.safetensors.wcodec",
        "nested/vocabulary.txt",
    ];
    assert_eq!(encoded_files, expected.map(PathBuf::from));
    assert_eq!(report.checkpoints().count(), 2);
    let restored = restore(&folder).unwrap();
    assert_eq!(contents(&folder.path().join("back")), contents(&folder.path().join("model")));
    assert_eq!(names(folder.path()), ["back", "model", "small"]);
    let described = |report: &DirectoryReport| {
        let describe = |file: &DirectoryFile| {
            (file.path.clone(), file.original_bytes, file.encoded_bytes, file.original_sha256)
        };
        report.files.iter().map(describe).collect::<Vec<_>>()
    };
    assert_eq!(described(&report), described(&restored));
    assert_eq!(report.original_bytes(), restored.original_bytes());
}

#[test]
fn progress_reaches_its_total_once() {
    #[derive(Default)]
    struct Counter {
        starts: AtomicU64,
        total: AtomicU64,
        done: AtomicU64,
    }
    impl Progress for Counter {
        fn start(&self, total: u64) {
            self.starts.fetch_add(1, Ordering::Relaxed);
            self.total.store(total, Ordering::Relaxed);
        }
        fn advance(&self, bytes: u64) {
            self.done.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    let folder = model();
    encode(&folder).unwrap();
    let counter = Arc::new(Counter::default());
    let options = RestoreOptions { progress: Some(counter.clone()), ..Default::default() };
    let path = |name| folder.path().join(name);
    let report = restore_directory(path("small"), path("back"), &options).unwrap();
    assert_eq!(counter.starts.load(Ordering::Relaxed), 1);
    assert_eq!(counter.total.load(Ordering::Relaxed), report.original_bytes());
    assert_eq!(counter.done.load(Ordering::Relaxed), report.original_bytes());
    let counter = Counter::default();
    verify_directory_against(path("small"), path("model"), Some(&counter)).unwrap();
    assert_eq!(counter.starts.load(Ordering::Relaxed), 1);
    assert_eq!(counter.done.load(Ordering::Relaxed), report.original_bytes());
}

#[cfg(unix)]
#[test]
fn permissions_of_files_come_back() {
    use std::os::unix::fs::PermissionsExt;
    let folder = model();
    let mode_of = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let modes = [
        ("model-1.safetensors", 0o440),
        ("nested/vocabulary.txt", 0o755),
        ("nested/deep/model-2.safetensors", 0o666),
    ];
    for (name, mode) in modes {
        let path = folder.path().join("model").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    encode(&folder).unwrap();
    restore(&folder).unwrap();
    assert_eq!(mode_of(folder.path().join("small/model-1.safetensors.wcodec")), 0o440);
    for (name, mode) in modes {
        assert_eq!(mode_of(folder.path().join("back").join(name)), mode, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_followed() {
    use std::os::unix::fs::symlink;
    let folder = model();
    let blobs = folder.path().join("blobs");
    fs::create_dir(&blobs).unwrap();
    fs::write(blobs.join("e3b0c442"), small_checkpoint(9)).unwrap();
    let model = folder.path().join("model");
    symlink("../blobs/e3b0c442", model.join("linked.safetensors")).unwrap();
    symlink("nested", model.join("linked-directory")).unwrap();
    encode(&folder).unwrap();
    restore(&folder).unwrap();
    let back = folder.path().join("back");
    assert_eq!(contents(&back), contents(&model));
    assert!(!back.join("linked.safetensors").symlink_metadata().unwrap().is_symlink());
    assert!(back.join("linked-directory/deep/model-2.safetensors").is_file());
}

#[cfg(unix)]
#[test]
fn cyclic_and_broken_links_are_errors() {
    use std::os::unix::fs::symlink;
    let folder = model();
    let link = folder.path().join("model/nested/around");
    symlink("..", &link).unwrap();
    assert_encode_fails(&folder, ErrorKind::InvalidInput, "which contains it");
    fs::remove_file(&link).unwrap();
    symlink("nowhere", &link).unwrap();
    assert_encode_fails(&folder, ErrorKind::InvalidInput, "something that is not there");
}

#[cfg(unix)]
#[test]
fn special_files_are_errors() {
    let folder = model();
    let path = folder.path().join("model/socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_encode_fails(&folder, ErrorKind::InvalidInput, "neither a file nor a directory");
}

#[test]
fn input_that_could_not_be_told_apart_is_refused() {
    let folder = model();
    fs::write(folder.path().join("model/nested/old.wcodec"), "").unwrap();
    assert_encode_fails(&folder, ErrorKind::InvalidInput, "old.wcodec");
}

#[test]
fn a_directory_in_the_way_of_an_encoded_name_is_refused() {
    let folder = model();
    fs::create_dir(folder.path().join("model/model-1.safetensors.wcodec")).unwrap();
    assert_encode_fails(&folder, ErrorKind::InvalidInput, "two things would become");
}

#[test]
fn invalid_checkpoint_leaves_nothing() {
    let folder = model();
    fs::write(folder.path().join("model/nested/pointer.safetensors"), "version https").unwrap();
    assert_encode_fails(&folder, ErrorKind::InvalidInput, "pointer.safetensors");
}

#[test]
fn directories_without_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("model")).unwrap();
    fs::write(folder.path().join("model/notes.txt"), "text").unwrap();
    assert_encode_fails(&folder, ErrorKind::InvalidInput, ".safetensors");
    let model = folder.path().join("model");
    let error = verify_directory(&model, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let back = folder.path().join("back");
    let error = restore_directory(&model, &back, &RestoreOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!back.exists());
}

#[test]
fn missing_and_wrong_inputs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert_encode_fails(&folder, ErrorKind::Io, "model");
    fs::write(folder.path().join("model"), DEMO_CHECKPOINT).unwrap();
    assert_encode_fails(&folder, ErrorKind::InvalidInput, "not a directory");
}

#[test]
fn input_and_output_must_be_apart() {
    let folder = model();
    let model = folder.path().join("model");
    let before = contents(folder.path());
    let options = EncodeOptions { overwrite: true, ..EncodeOptions::default() };
    for output in [model.clone(), model.join("nested/small"), folder.path().to_owned()] {
        let error = encode_directory(&model, &output, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", output.display());
        assert_eq!(contents(folder.path()), before);
    }
}

#[test]
fn existing_output_is_replaced_only_with_overwrite() {
    let folder = model();
    let small = folder.path().join("small");
    fs::create_dir(&small).unwrap();
    fs::write(small.join("mine"), "old").unwrap();
    assert_encode_fails(&folder, ErrorKind::TargetExists, "already exists");
    assert_eq!(names(&small), ["mine"]);
    let options = EncodeOptions { overwrite: true, ..EncodeOptions::default() };
    encode_directory(folder.path().join("model"), &small, &options).unwrap();
    assert!(!small.join("mine").exists());
    restore(&folder).unwrap();
    assert_eq!(contents(&folder.path().join("back")), contents(&folder.path().join("model")));
}

#[test]
fn damage_is_found_and_leaves_nothing() {
    let folder = model();
    encode(&folder).unwrap();
    let damaged = folder.path().join("small/model-1.safetensors.wcodec");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[5000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    assert_eq!(restore(&folder).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(names(folder.path()), ["model", "small"]);
    let error = verify_directory(folder.path().join("small"), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("model-1"), "{error}");
}

#[test]
fn a_file_both_encoded_and_not_is_refused() {
    let folder = model();
    encode(&folder).unwrap();
    fs::write(folder.path().join("small/model-1.safetensors"), "x").unwrap();
    let error = restore(&folder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("two things would become"), "{error}");
    assert!(!folder.path().join("back").exists());
}

#[test]
fn verification_covers_checkpoints_and_the_whole_tree() {
    let folder = model();
    encode(&folder).unwrap();
    let (small, model) = (folder.path().join("small"), folder.path().join("model"));
    assert_eq!(verify_directory(&small, None).unwrap().files.len(), 2);
    assert_eq!(verify_directory_against(&small, &model, None).unwrap().files.len(), 4);

    let changed = |name: &str, content: &[u8], says: &str| {
        let path = model.join(name);
        let before = fs::read(&path).ok();
        fs::write(&path, content).unwrap();
        let error = verify_directory_against(&small, &model, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        match before {
            Some(before) => fs::write(&path, before).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    };
    changed("nested/vocabulary.txt", b"word", "it has 0 bytes");
    changed("model.safetensors.index.json", b"{\"weight_map\": []}", "offset 15");
    changed("nested/deep/model-2.safetensors", &small_checkpoint(8), "offset 65");
    changed("nested/new.txt", b"", "missing in it");
    fs::remove_file(model.join("nested/vocabulary.txt")).unwrap();
    let error = verify_directory_against(&small, &model, None).unwrap_err();
    assert!(error.to_string().contains("only it has"), "{error}");
}
