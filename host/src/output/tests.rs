//! Commits, interruptions and races, on real files.

use super::*;
use crate::error::ErrorKind;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Sorted names of everything in `directory`, hidden or not.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn write_file(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    let mut file = AtomicFile::create(path, overwrite)?;
    file.append(bytes)?;
    file.commit()
}

#[test]
fn file_appears_only_with_the_commit() {
    let folder = folder();
    let target = folder.path().join("out.wcodec");
    let mut file = AtomicFile::create(&target, false).unwrap();
    file.append(b"some ").unwrap();
    file.write_all(b"bytes").unwrap();
    assert_eq!(file.target(), target);
    assert_eq!(file.as_file().metadata().unwrap().len(), 10);
    assert!(!target.exists());
    file.commit().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"some bytes");
    assert_eq!(names(folder.path()), ["out.wcodec"]);
}

#[test]
fn dropped_file_leaves_the_target_and_nothing_else() {
    let folder = folder();
    let target = folder.path().join("out");
    fs::write(&target, b"old").unwrap();
    let mut file = AtomicFile::create(&target, true).unwrap();
    file.append(b"half").unwrap();
    assert_eq!(names(folder.path()).len(), 2);
    drop(file);
    assert_eq!(fs::read(&target).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn existing_file_is_replaced_only_with_overwrite() {
    let folder = folder();
    let target = folder.path().join("out");
    fs::write(&target, b"old and longer").unwrap();
    let error = write_file(&target, b"new", false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetExists);
    assert_eq!(fs::read(&target).unwrap(), b"old and longer");
    write_file(&target, b"new", true).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new");
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn file_that_appears_before_the_commit_is_not_clobbered() {
    let folder = folder();
    let target = folder.path().join("out");
    let file = AtomicFile::create(&target, false).unwrap();
    fs::write(&target, b"someone else's").unwrap();
    assert_eq!(file.commit().unwrap_err().kind(), ErrorKind::TargetExists);
    assert_eq!(fs::read(&target).unwrap(), b"someone else's");
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn missing_directory_is_named() {
    let folder = folder();
    let missing = folder.path().join("missing");
    let file = AtomicFile::create(missing.join("out"), false).map(drop);
    let directory = AtomicDirectory::create(missing.join("out"), false).map(drop);
    for (result, action) in [(file, "create a file in"), (directory, "create a directory in")] {
        let message = result.unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("cannot {action} \"{}\": ", missing.display())),
            "{message}"
        );
        assert!(
            message.ends_with("check that the path is right and its directory exists"),
            "{message}"
        );
    }
}

#[test]
fn wrong_kinds_of_target_are_refused_even_with_overwrite() {
    let folder = folder();
    let (file, directory) = (folder.path().join("file"), folder.path().join("directory"));
    fs::write(&file, b"old").unwrap();
    fs::create_dir(&directory).unwrap();
    let error = AtomicFile::create(&directory, true).unwrap_err();
    assert!(
        error.to_string().ends_with("it exists and is not a regular file, so it is not replaced"),
        "{error}"
    );
    let error = AtomicDirectory::create(&file, true).unwrap_err();
    assert!(
        error.to_string().ends_with("it exists and is not a directory, so it is not replaced"),
        "{error}"
    );
    let error = AtomicFile::create(folder.path().join(".."), true).unwrap_err();
    assert!(error.to_string().ends_with("it must end in a name"), "{error}");
    assert_eq!(names(folder.path()), ["directory", "file"]);
}

#[test]
fn names_as_long_as_the_file_system_allows() {
    let folder = folder();
    let target = folder.path().join("n".repeat(255));
    write_file(&target, b"x", false).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"x");
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_refused() {
    let folder = folder();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, b"old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(AtomicFile::create(&link, false).unwrap_err().kind(), ErrorKind::TargetExists);
    assert_eq!(AtomicFile::create(&link, true).unwrap_err().kind(), ErrorKind::InvalidInput);
    fs::remove_file(&file).unwrap();
    assert_eq!(AtomicFile::create(&link, false).unwrap_err().kind(), ErrorKind::TargetExists);
}

#[cfg(unix)]
#[test]
fn permissions_are_those_of_ordinary_output() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode();
    fs::write(at("ordinary file"), b"").unwrap();
    fs::create_dir(at("ordinary directory")).unwrap();
    write_file(&at("file"), b"", false).unwrap();
    AtomicDirectory::create(at("directory"), false).unwrap().commit().unwrap();
    assert_eq!(mode("file"), mode("ordinary file"));
    assert_eq!(mode("directory"), mode("ordinary directory"));
}

#[test]
fn directory_appears_only_with_the_commit() {
    let folder = folder();
    let target = folder.path().join("out");
    let directory = AtomicDirectory::create(&target, false).unwrap();
    write_file(&directory.path().join("a"), b"1", false).unwrap();
    assert_eq!(directory.target(), target);
    assert!(!target.exists());
    directory.commit().unwrap();
    assert_eq!(fs::read(target.join("a")).unwrap(), b"1");
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn dropped_directory_leaves_the_target_and_nothing_else() {
    let folder = folder();
    let target = folder.path().join("out");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("old"), b"1").unwrap();
    let directory = AtomicDirectory::create(&target, true).unwrap();
    write_file(&directory.path().join("new"), b"2", false).unwrap();
    drop(directory);
    assert_eq!(names(&target), ["old"]);
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn existing_directory_is_replaced_only_with_overwrite() {
    let folder = folder();
    let target = folder.path().join("out");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("old"), b"1").unwrap();
    assert_eq!(
        AtomicDirectory::create(&target, false).unwrap_err().kind(),
        ErrorKind::TargetExists
    );
    let directory = AtomicDirectory::create(&target, true).unwrap();
    write_file(&directory.path().join("new"), b"2", false).unwrap();
    directory.commit().unwrap();
    assert_eq!(names(&target), ["new"]);
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn directory_that_appears_before_the_commit_is_not_clobbered() {
    let folder = folder();
    let target = folder.path().join("out");
    let directory = AtomicDirectory::create(&target, false).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("theirs"), b"1").unwrap();
    assert_eq!(directory.commit().unwrap_err().kind(), ErrorKind::TargetExists);
    assert_eq!(names(&target), ["theirs"]);
    assert_eq!(names(folder.path()), ["out"]);
}

/// What `commit` has after its first rename: the old directory aside, the target free.
fn moved_aside(folder: &Path, target: &Path) -> OldDirectory {
    fs::create_dir(target).unwrap();
    fs::write(target.join("old"), b"1").unwrap();
    AtomicDirectory::create(target, true).unwrap().move_aside(folder).unwrap()
}

#[test]
fn old_directory_moves_back_when_the_new_one_cannot_be_renamed() {
    let folder = folder();
    let target = folder.path().join("out");
    let old = moved_aside(folder.path(), &target);
    assert!(!target.exists());
    let error = old.move_back(&target, io::Error::other("device lost"));
    assert!(error.to_string().contains("device lost"), "{error}");
    assert_eq!(names(&target), ["old"]);
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn old_directory_that_cannot_move_back_is_kept_and_named() {
    let folder = folder();
    let target = folder.path().join("out");
    let old = moved_aside(folder.path(), &target);
    let kept = old.moved_to.clone();
    fs::write(&target, b"in the way").unwrap();
    let error = old.move_back(&target, io::Error::other("device lost"));
    assert!(error.to_string().contains(&kept.display().to_string()), "{error}");
    assert_eq!(names(&kept), ["old"]);
    assert_eq!(fs::read(&target).unwrap(), b"in the way");
}

#[test]
fn pieces_of_every_length_arrive_whole_while_the_disk_takes_them() {
    let folder = folder();
    let target = folder.path().join("out");
    let mut file = AtomicFile::create(&target, false).unwrap();
    let mut expected = Vec::new();
    for (number, length) in
        [1, 1 << 20, (1 << 20) - 1, 3 << 20, 7, 0, 1 << 19].into_iter().enumerate()
    {
        let piece = vec![number as u8 + 1; length];
        file.append(&piece).unwrap();
        expected.extend(piece);
    }
    file.commit().unwrap();
    assert!(fs::read(&target).unwrap() == expected);
}
