//! Whole model directories: shards, their index, configuration, tokenizer and whatever else is
//! there.
//!
//! In an encoded directory each `NAME.safetensors` is a `NAME.safetensors.wcodec`; every other file
//! is a copy. Symbolic links are followed, so that a snapshot in a download cache works, and the
//! result holds files only.

mod several;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::decode::{Checkpoint, RestoreOptions};
use crate::encode::{EncodeOptions, encode_safetensors};
use crate::error::{Error, Result, quoted_path};
use crate::mapped::MappedFile;
use crate::output::{AtomicDirectory, AtomicFile, ensure_apart};
use crate::progress::Progress;
use several::for_each_file;
use tree::{Tree, TreeFile, unusable};

/// How the names of checkpoints end.
const ORIGINAL_SUFFIX: &str = ".safetensors";
/// What encoding adds to them.
const ADDED_SUFFIX: &str = ".wcodec";
/// How the names of encoded checkpoints end.
const ENCODED_SUFFIX: &str = ".safetensors.wcodec";
/// Bytes that are copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// What was done with a directory: encoding, restoring and verifying report the same.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DirectoryReport {
    /// One entry per file, in the order of their names; for a verification without an original
    /// the checkpoints only.
    pub files: Vec<DirectoryFile>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A file of a model directory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DirectoryFile {
    /// Path below the directory, as it is in the original.
    pub path: PathBuf,
    /// Bytes in the original directory.
    pub original_bytes: u64,
    /// Bytes in the encoded directory, where it is a copy as many.
    pub encoded_bytes: u64,
    /// Whether it is a checkpoint, and stored encoded; other files are copies.
    pub is_checkpoint: bool,
    /// For a checkpoint, the SHA-256 of the original, where there is one.
    pub original_sha256: Option<[u8; 32]>,
}

impl DirectoryReport {
    /// Bytes of all files in the original directory.
    pub fn original_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.original_bytes).sum()
    }

    /// Bytes of all files in the encoded directory.
    pub fn encoded_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.encoded_bytes).sum()
    }

    /// The files that are stored encoded.
    pub fn checkpoints(&self) -> impl Iterator<Item = &DirectoryFile> {
        self.files.iter().filter(|file| file.is_checkpoint)
    }
}

/// Encodes every `.safetensors` file of the directory `input`, subdirectories included, into the
/// directory `output`, and copies everything else there, with the Unix permissions of files.
///
/// The output appears under its name when it is complete; after an error there is none, and one
/// that was there before is unchanged. `options.overwrite` replaces a whole directory.
///
/// # Errors
///
/// When the input has no `.safetensors` file or one that is not valid, has a file that ends in
/// `.wcodec` already (restoring could not tell it from an encoded one), a symbolic link to nothing
/// or to a directory around it, or anything but files and directories; when the output exists and
/// may not be replaced, is within the input or around it, or cannot be written; and when `options`
/// have a base.
pub fn encode_directory(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &EncodeOptions,
) -> Result<DirectoryReport> {
    let (start, input, output) = (Instant::now(), input.as_ref(), output.as_ref());
    ensure_apart(input, output)?;
    if options.base.is_some() {
        return Err(unusable(
            input,
            "only files are stored against a base; encode its files one by one",
        ));
    }
    let tree = Tree::read(input)?;
    if let Some(file) = tree.files.iter().find(|file| ends_in(&file.relative, ADDED_SUFFIX)) {
        let detail = "it ends in .wcodec already, so decoding could not tell it from an encoded \
                      file; move it elsewhere, or decode it first";
        return Err(unusable(&tree.path(file), detail));
    }
    if !tree.files.iter().any(|file| ends_in(&file.relative, ORIGINAL_SUFFIX)) {
        return Err(unusable(input, "no file in it ends in .safetensors; name a model directory"));
    }
    if let Some(progress) = &options.progress {
        progress.start(tree.files.iter().map(|file| file.bytes).sum());
    }
    let inner = EncodeOptions {
        overwrite: false,
        progress: options.progress.clone().map(part_of),
        ..options.clone()
    };
    let files = assemble(&tree, output, options.overwrite, encoded_path, |file, target| {
        if !ends_in(&file.relative, ORIGINAL_SUFFIX) {
            return copy_file(&tree, file, target, options.progress.as_deref());
        }
        let report = encode_safetensors(tree.path(file), target, &inner)?;
        Ok(DirectoryFile {
            path: file.relative.clone(),
            original_bytes: report.original_bytes,
            encoded_bytes: report.encoded_bytes,
            is_checkpoint: true,
            original_sha256: report.original_sha256,
        })
    })?;
    Ok(DirectoryReport { files, seconds: start.elapsed().as_secs_f64() })
}

/// Restores the directory that [`encode_directory`] encoded: every `.safetensors.wcodec` file of
/// `input` becomes the original, and every other file is copied.
///
/// The output appears under its name when it is complete and every SHA-256 was found right; after
/// an error there is none, and one that was there before is unchanged. `options.overwrite` replaces
/// a whole directory.
///
/// # Errors
///
/// When the input has no `.safetensors.wcodec` file or a damaged one, has a file both encoded and
/// not, a symbolic link to nothing or to a directory around it, or anything but files and
/// directories; when the output exists and may not be replaced, is within the input or around it,
/// or cannot be written.
pub fn restore_directory(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &RestoreOptions,
) -> Result<DirectoryReport> {
    let (start, input, output) = (Instant::now(), input.as_ref(), output.as_ref());
    ensure_apart(input, output)?;
    let tree = Tree::read(input)?;
    let checkpoints = open_checkpoints(&tree, ENCODED_SUFFIX)?;
    if let Some(progress) = &options.progress {
        progress.start(tree.files.iter().map(|file| original_bytes(file, &checkpoints)).sum());
    }
    let inner =
        RestoreOptions { overwrite: false, progress: options.progress.clone().map(part_of) };
    let files =
        assemble(
            &tree,
            output,
            options.overwrite,
            original_path,
            |file, target| match checkpoints.get(file.relative.as_path()) {
                None => copy_file(&tree, file, target, options.progress.as_deref()),
                Some(checkpoint) => {
                    checkpoint.restore(target, &inner)?;
                    Ok(describe(file, checkpoint))
                }
            },
        )?;
    Ok(DirectoryReport { files, seconds: start.elapsed().as_secs_f64() })
}

/// Verifies every `.wcodec` file of a directory, subdirectories included, as
/// [`Checkpoint::verify`] does.
///
/// # Errors
///
/// When there is none, the directory cannot be read, or a file is damaged.
pub fn verify_directory(
    directory: impl AsRef<Path>,
    progress: Option<&dyn Progress>,
) -> Result<DirectoryReport> {
    let start = Instant::now();
    let tree = Tree::read(directory.as_ref())?;
    let checkpoints = open_checkpoints(&tree, ADDED_SUFFIX)?;
    if let Some(progress) = progress {
        progress.start(checkpoints.values().map(Checkpoint::original_bytes).sum());
    }
    let part = progress.map(PartOf);
    let files = for_each_file(&tree.files, |file| {
        let Some(checkpoint) = checkpoints.get(file.relative.as_path()) else { return Ok(None) };
        checkpoint.verify(part.as_ref().map(|part| part as &dyn Progress))?;
        Ok(Some(describe(file, checkpoint)))
    })?;
    let files = files.into_iter().flatten().collect();
    Ok(DirectoryReport { files, seconds: start.elapsed().as_secs_f64() })
}

/// Checks that [`restore_directory`] of `directory` would give the directory `original`: the same
/// files with the same bytes. Permissions and empty directories are not compared.
///
/// # Errors
///
/// As [`verify_directory`]; when `original` cannot be read; and when it has another file, lacks
/// one, or has one that differs.
pub fn verify_directory_against(
    directory: impl AsRef<Path>,
    original: impl AsRef<Path>,
    progress: Option<&dyn Progress>,
) -> Result<DirectoryReport> {
    let start = Instant::now();
    let tree = Tree::read(directory.as_ref())?;
    let originals = Tree::read(original.as_ref())?;
    let checkpoints = open_checkpoints(&tree, ENCODED_SUFFIX)?;
    check_distinct_targets(&tree, original_path)?;
    check_same_names(&tree, &originals)?;
    if let Some(progress) = progress {
        progress.start(tree.files.iter().map(|file| original_bytes(file, &checkpoints)).sum());
    }
    let part = progress.map(PartOf);
    let files = for_each_file(&tree.files, |file| {
        let other = originals.root.join(original_path(&file.relative));
        match checkpoints.get(file.relative.as_path()) {
            Some(checkpoint) => {
                let part = part.as_ref().map(|part| part as &dyn Progress);
                checkpoint.verify_against(&other, part)?;
                Ok(describe(file, checkpoint))
            }
            None => {
                compare_files(&tree.path(file), &other)?;
                progress.inspect(|progress| progress.advance(file.bytes));
                Ok(describe_copy(file))
            }
        }
    })?;
    Ok(DirectoryReport { files, seconds: start.elapsed().as_secs_f64() })
}

/// Hands on how far one file of a directory has come; the directory's total was given before.
struct PartOf<P>(P);

impl<P: Deref<Target: Progress> + Send + Sync> Progress for PartOf<P> {
    fn start(&self, _total: u64) {}

    fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }
}

fn part_of(whole: Arc<dyn Progress>) -> Arc<dyn Progress> {
    Arc::new(PartOf(whole))
}

/// Makes the directory `output` like `tree`: for each file `write` makes the file at the path it is
/// given, whose name `rename` chose.
fn assemble(
    tree: &Tree,
    output: &Path,
    overwrite: bool,
    rename: impl Fn(&Path) -> PathBuf + Sync,
    write: impl Fn(&TreeFile, &Path) -> Result<DirectoryFile> + Sync,
) -> Result<Vec<DirectoryFile>> {
    check_distinct_targets(tree, &rename)?;
    let directory = AtomicDirectory::create(output, overwrite)?;
    for relative in &tree.directories {
        let path = directory.path().join(relative);
        fs::create_dir(&path).map_err(|source| Error::io("create", path, source))?;
    }
    let files = for_each_file(&tree.files, |file| {
        let target = directory.path().join(rename(&file.relative));
        let written = write(file, &target)?;
        copy_permissions(&tree.path(file), &target)?;
        Ok(written)
    })?;
    directory.commit()?;
    Ok(files)
}

/// Two things of a tree can only get one name when one of them is renamed.
fn check_distinct_targets(tree: &Tree, rename: impl Fn(&Path) -> PathBuf) -> Result<()> {
    let mut targets: HashSet<PathBuf> = tree.directories.iter().cloned().collect();
    let clash = |file: &&TreeFile| !targets.insert(rename(&file.relative));
    match tree.files.iter().find(clash) {
        None => Ok(()),
        Some(file) => {
            let target = rename(&file.relative);
            let detail = format!("two things would become {}; remove one", quoted_path(&target));
            Err(unusable(&tree.path(file), detail))
        }
    }
}

fn copy_file(
    tree: &Tree,
    file: &TreeFile,
    target: &Path,
    progress: Option<&dyn Progress>,
) -> Result<DirectoryFile> {
    let path = tree.path(file);
    let mut source = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
    let mut copy = AtomicFile::create(target, false)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let length = source.read(&mut buffer).map_err(|error| Error::io("read", &path, error))?;
        if length == 0 {
            break;
        }
        copy.append(&buffer[..length])?;
        bytes += length as u64;
        progress.inspect(|progress| progress.advance(length as u64));
    }
    copy.commit()?;
    Ok(describe_copy(&TreeFile { relative: file.relative.clone(), bytes }))
}

/// Gives `target` the permission bits of `source`.
#[cfg(unix)]
fn copy_permissions(source: &Path, target: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(source).map_err(|error| Error::io("examine", source, error))?;
    // Those of reading, writing and executing; running a file as another user is not inherited.
    let permissions = fs::Permissions::from_mode(metadata.permissions().mode() & 0o777);
    fs::set_permissions(target, permissions)
        .map_err(|error| Error::io("set the permissions of", target, error))
}

/// Other systems have no permission bits.
#[cfg(not(unix))]
fn copy_permissions(_source: &Path, _target: &Path) -> Result<()> {
    Ok(())
}

/// The files of `tree` that end in `suffix`, opened.
fn open_checkpoints<'a>(tree: &'a Tree, suffix: &str) -> Result<HashMap<&'a Path, Checkpoint>> {
    let encoded = tree.files.iter().filter(|file| ends_in(&file.relative, suffix));
    let open =
        |file: &'a TreeFile| Ok((file.relative.as_path(), Checkpoint::open(tree.path(file))?));
    let checkpoints = encoded.map(open).collect::<Result<HashMap<_, _>>>()?;
    if checkpoints.is_empty() {
        let detail = format!("no file in it ends in {suffix}; name an encoded directory");
        return Err(unusable(&tree.root, detail));
    }
    Ok(checkpoints)
}

fn check_same_names(encoded: &Tree, originals: &Tree) -> Result<()> {
    let differs = |detail: String| Error::Mismatch {
        left: quoted_path(&encoded.root).to_string(),
        right: quoted_path(&originals.root).to_string(),
        detail,
    };
    let here: HashSet<PathBuf> =
        encoded.files.iter().map(|file| original_path(&file.relative)).collect();
    let there: HashSet<PathBuf> =
        originals.files.iter().map(|file| file.relative.clone()).collect();
    if let Some(missing) = there.difference(&here).min() {
        return Err(differs(format!("{} is missing in it", quoted_path(missing))));
    }
    if let Some(added) = here.difference(&there).min() {
        return Err(differs(format!("only it has {}", quoted_path(added))));
    }
    Ok(())
}

fn compare_files(left: &Path, right: &Path) -> Result<()> {
    let (here, there) = (MappedFile::open(left)?, MappedFile::open(right)?);
    here.expect_all();
    there.expect_all();
    there.checked(here.checked(compare_bytes((left, here.bytes()), (right, there.bytes()))))
}

fn compare_bytes((left, here): (&Path, &[u8]), (right, there): (&Path, &[u8])) -> Result<()> {
    if here == there {
        return Ok(());
    }
    let detail = if here.len() == there.len() {
        let at = here.iter().zip(there).take_while(|(a, b)| a == b).count();
        format!("the byte at offset {at} is not the same")
    } else {
        format!("it has {} bytes, and the other file has {}", here.len(), there.len())
    };
    Err(Error::Mismatch {
        left: quoted_path(left).to_string(),
        right: quoted_path(right).to_string(),
        detail,
    })
}

fn describe(file: &TreeFile, checkpoint: &Checkpoint) -> DirectoryFile {
    DirectoryFile {
        path: original_path(&file.relative),
        original_bytes: checkpoint.original_bytes(),
        encoded_bytes: checkpoint.encoded_bytes(),
        is_checkpoint: true,
        original_sha256: checkpoint.original_sha256(),
    }
}

fn describe_copy(file: &TreeFile) -> DirectoryFile {
    DirectoryFile {
        path: file.relative.clone(),
        original_bytes: file.bytes,
        encoded_bytes: file.bytes,
        is_checkpoint: false,
        original_sha256: None,
    }
}

fn original_bytes(file: &TreeFile, checkpoints: &HashMap<&Path, Checkpoint>) -> u64 {
    checkpoints.get(file.relative.as_path()).map_or(file.bytes, Checkpoint::original_bytes)
}

fn ends_in(path: &Path, suffix: &str) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(suffix.as_bytes())
}

/// Where a file of an original directory goes in the encoded one.
fn encoded_path(original: &Path) -> PathBuf {
    let mut path = OsString::from(original);
    if ends_in(original, ORIGINAL_SUFFIX) {
        path.push(ADDED_SUFFIX);
    }
    path.into()
}

/// Where a file of an encoded directory goes in the original one.
fn original_path(encoded: &Path) -> PathBuf {
    if ends_in(encoded, ENCODED_SUFFIX) { encoded.with_extension("") } else { encoded.to_owned() }
}
