//! What SECURITY.md promises, each promise by a small case of its own. The full counts come from
//! `examples/trust_counts.rs`, `examples/kill_at_random.rs` and `.ci/fuzz`; interruptions of the
//! command are in `host/tests/interruptions.rs`.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use wcodec::output::AtomicFile;
use wcodec::safetensors::Dtype;
use wcodec::{
    Checkpoint, EncodeOptions, ErrorKind, Progress, RestoreOptions, encode_safetensors,
    encode_safetensors_bytes, guard_mapped_files,
};
use wcodec_tests::{
    LimitedAllocator, Pattern, Random, TestTensor, flips, lies, safetensors_file, small_file,
    small_original, truncations,
};

/// What the tests of this file take together when they run at the same time; a reader that believes
/// a lie about a size takes far more.
#[global_allocator]
static ALLOCATOR: LimitedAllocator = LimitedAllocator::new(1 << 30);

/// Steps through what the full counts try all of.
const STEP: usize = 37;

/// Three tensors of several chunks, about 3 MiB each.
fn tensors() -> Vec<TestTensor> {
    let random = &mut Random::new(91);
    [
        ("first", Dtype::BF16, 1 << 20),
        ("second", Dtype::F32, 1 << 19),
        ("third", Dtype::I8, 1 << 21),
    ]
    .map(|(name, dtype, length)| TestTensor::new(name, dtype, &[length], Pattern::Gaussian, random))
    .into()
}

fn original() -> Vec<u8> {
    safetensors_file(&tensors()).unwrap()
}

fn encoded(original: &[u8]) -> Vec<u8> {
    encode_safetensors_bytes(original, &EncodeOptions::default()).unwrap().0
}

/// A folder with the original `m.safetensors` and its `m.wcodec`.
fn folder() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (plain, coded) = (folder.path().join("m.safetensors"), folder.path().join("m.wcodec"));
    fs::write(&plain, original()).unwrap();
    fs::write(&coded, encoded(&original())).unwrap();
    (folder, plain, coded)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Calls `act` when so many bytes are done, once.
struct When<F: Fn()> {
    act: F,
    done: AtomicBool,
}

impl<F: Fn() + Send + Sync + 'static> When<F> {
    fn working(act: F) -> Option<Arc<dyn Progress>> {
        Some(Arc::new(Self { act, done: AtomicBool::new(false) }))
    }
}

impl<F: Fn() + Send + Sync> Progress for When<F> {
    fn start(&self, _total: u64) {
        if !self.done.swap(true, Ordering::Relaxed) {
            (self.act)();
        }
    }

    fn advance(&self, _bytes: u64) {}
}

#[test]
fn no_truncation_flip_or_lie_gives_other_bytes_or_takes_much_memory() {
    let (original, file) = (small_original().unwrap(), small_file().unwrap());
    for trials in [truncations(&file, &original, STEP), flips(&file, &original, 8 * STEP + 1)] {
        assert_eq!((trials.refused, trials.exact, trials.wrong), (trials.tried, 0, 0));
    }
    let trials = lies(&file, &original, STEP);
    assert_eq!(trials.wrong, 0);
    assert!(trials.refused > trials.exact, "{trials:?}");
}

#[test]
fn damage_is_placed_and_salvage_gives_all_the_rest() {
    let (folder, _, coded) = folder();
    let original = original();
    let mut damaged = fs::read(&coded).unwrap();
    // In the second tensor, and in the last chunk of the third.
    let places = [damaged.len() / 2, damaged.len() - 100_000];
    places.iter().for_each(|&at| damaged[at] ^= 0x20);
    fs::write(&coded, &damaged).unwrap();
    let checkpoint = Checkpoint::open(&coded).unwrap();
    let message = checkpoint.verify(None).unwrap_err().to_string();
    assert!(message.contains("tensor \"second\"") && message.contains("chunk "), "{message}");

    let output = folder.path().join("salvaged");
    let report = checkpoint.salvage(&output, &RestoreOptions::default()).unwrap();
    let lost: Vec<&str> = report.lost.iter().map(|range| &*range.tensor).collect();
    assert_eq!(lost, ["second", "third"]);
    assert!(report.lost.iter().all(|range| range.reason.contains("chunk ")));
    // A chunk is about 1 MiB of the file, so less than 3 MiB of a tensor.
    assert!((1..6 << 20).contains(&report.lost_bytes()), "{}", report.lost_bytes());

    let mut expected = original.clone();
    let data = original.len() - tensors().iter().map(|tensor| tensor.bytes.len()).sum::<usize>();
    let mut start = data;
    for tensor in tensors() {
        for lost in report.lost.iter().filter(|lost| lost.tensor == tensor.name) {
            expected[start + lost.start as usize..start + lost.end as usize].fill(0);
        }
        start += tensor.bytes.len();
    }
    assert!(expected != original && fs::read(&output).unwrap() == expected);
}

#[test]
fn salvage_of_an_undamaged_file_is_the_original() {
    let (folder, plain, coded) = folder();
    let output = folder.path().join("salvaged");
    let report =
        Checkpoint::open(&coded).unwrap().salvage(&output, &RestoreOptions::default()).unwrap();
    assert_eq!((report.lost.len(), report.lost_bytes()), (0, 0));
    assert!(fs::read(&output).unwrap() == fs::read(&plain).unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_cut_short_while_it_is_read_is_an_error() {
    guard_mapped_files().unwrap();
    let (folder, plain, coded) = folder();
    let cut = |path: &Path| {
        let path = path.to_owned();
        move || OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap()
    };
    // While decoding, to a file and to memory.
    let checkpoint = Checkpoint::open(&coded).unwrap();
    let output = folder.path().join("out");
    let options =
        RestoreOptions { progress: When::working(cut(&coded)), ..RestoreOptions::default() };
    let error = checkpoint.restore(&output, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    let third = checkpoint.tensor("third").unwrap();
    assert_eq!(third.decode().unwrap_err().kind(), ErrorKind::Truncated);
    assert_eq!(third.decode_range(0..100).unwrap_err().kind(), ErrorKind::Truncated);
    // While encoding.
    let options =
        EncodeOptions { progress: When::working(cut(&plain)), ..EncodeOptions::default() };
    let error = encode_safetensors(&plain, &output, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    assert_eq!(names(folder.path()), ["m.safetensors", "m.wcodec"]);
}

#[test]
fn an_input_that_changes_while_it_is_encoded_is_an_error() {
    let (folder, plain, _) = folder();
    // Later than the clock's step, by which file systems date changes.
    std::thread::sleep(Duration::from_millis(30));
    let changed = plain.clone();
    let change = move || {
        let mut bytes = fs::read(&changed).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&changed, bytes).unwrap();
    };
    let options = EncodeOptions { progress: When::working(change), ..EncodeOptions::default() };
    let error = encode_safetensors(&plain, folder.path().join("out"), &options).unwrap_err();
    // Found as a change, or, cut short for a moment by the writer, as an incomplete file.
    assert!([ErrorKind::InvalidInput, ErrorKind::Truncated].contains(&error.kind()), "{error}");
    assert_eq!(names(folder.path()), ["m.safetensors", "m.wcodec"]);
}

#[cfg(unix)]
#[test]
fn what_a_killed_process_left_goes_and_what_a_living_one_writes_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path(".wcodec-left.partial"), "half").unwrap();
    fs::create_dir_all(path(".wcodec-left-directory.partial/nested")).unwrap();
    fs::write(path(".wcodec-of-somebody"), "not of this kind").unwrap();
    fs::write(path(".wcodec-living.partial"), "half").unwrap();
    let living = File::open(path(".wcodec-living.partial")).unwrap();
    living.lock().unwrap();
    let first = AtomicFile::create(path("first"), false).unwrap();
    // The second output leaves the first one alone, which is unfinished.
    AtomicFile::create(path("second"), false).unwrap().commit().unwrap();
    first.commit().unwrap();
    let left = [".wcodec-living.partial", ".wcodec-of-somebody", "first", "second"];
    assert_eq!(names(folder.path()), left);
}

#[test]
fn of_two_encodes_into_one_target_one_wins_whole() {
    let (folder, plain, coded) = folder();
    let other = folder.path().join("other.safetensors");
    fs::write(&other, small_original().unwrap()).unwrap();
    let good = [fs::read(&coded).unwrap(), encoded(&small_original().unwrap())];
    let target = folder.path().join("target");
    let encode = |input: &Path, overwrite| {
        let options = EncodeOptions { overwrite, ..EncodeOptions::default() };
        encode_safetensors(input, &target, &options).map(drop)
    };
    for _ in 0..5 {
        let (left, right) = rayon::join(|| encode(&plain, true), || encode(&other, true));
        assert!(left.is_ok() && right.is_ok());
        assert!(good.contains(&fs::read(&target).unwrap()));
        fs::remove_file(&target).unwrap();
        let outcomes: [_; 2] =
            rayon::join(|| encode(&plain, false), || encode(&other, false)).into();
        let kinds = outcomes.map(|outcome| outcome.err().map(|error| error.kind()));
        assert!(kinds.contains(&None), "{kinds:?}");
        assert!(kinds.contains(&Some(ErrorKind::TargetExists)), "{kinds:?}");
        assert!(good.contains(&fs::read(&target).unwrap()));
    }
    fs::remove_file(&target).unwrap();
    assert_eq!(names(folder.path()), ["m.safetensors", "m.wcodec", "other.safetensors"]);
}

#[test]
fn a_reader_during_a_replace_sees_the_old_file_or_the_new_one() {
    let (_folder, plain, coded) = folder();
    let other = coded.with_extension("other");
    fs::write(&other, small_original().unwrap()).unwrap();
    let expected = [fs::read(&plain).unwrap(), fs::read(&other).unwrap()];
    let is_done = AtomicBool::new(false);
    let options = EncodeOptions { overwrite: true, ..EncodeOptions::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for input in [&other, &plain].iter().cycle().take(10) {
                encode_safetensors(input, &coded, &options).unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        let mut reads = 0;
        while reads < 3 || !is_done.load(Ordering::Acquire) {
            let restored = Checkpoint::open(&coded).unwrap().restore_bytes().unwrap();
            assert!(expected.contains(&restored));
            reads += 1;
        }
    });
}

#[test]
fn many_threads_share_a_checkpoint() {
    let (_folder, _, coded) = folder();
    let (checkpoint, tensors) = (Checkpoint::open(&coded).unwrap(), tensors());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (checkpoint, tensors) = (&checkpoint, &tensors);
            scope.spawn(move || {
                let random = &mut Random::new(thread);
                for _ in 0..6 {
                    let expected = &tensors[random.below(tensors.len() as u64) as usize];
                    let tensor = checkpoint.tensor(&expected.name).unwrap();
                    let count = tensor.byte_len() / tensor.element_bytes();
                    let start = random.below(count);
                    let end = (start + random.below(200_000)).min(count);
                    let width = tensor.element_bytes() as usize;
                    let wanted = &expected.bytes[start as usize * width..end as usize * width];
                    assert!(tensor.decode_range(start..end).unwrap().as_bytes() == wanted);
                    assert!(tensor.decode().unwrap().as_bytes() == expected.bytes);
                }
            });
        }
        scope.spawn(|| checkpoint.verify(None).unwrap());
    });
}
