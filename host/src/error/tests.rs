//! Every message, whole.

use super::*;

#[track_caller]
fn assert_shows(error: Error, kind: ErrorKind, message: &str) {
    assert_eq!(error.to_string(), message);
    assert_eq!(error.kind(), kind);
}

#[test]
fn io_names_action_path_cause_and_advice() {
    let error = Error::io(
        "read",
        "model.safetensors",
        io::Error::new(io::ErrorKind::NotFound, "no such file"),
    );
    assert_shows(
        error,
        ErrorKind::Io,
        "cannot read \"model.safetensors\": no such file; check that the path is right and its directory exists",
    );
    let error =
        Error::io("write", "out", io::Error::new(io::ErrorKind::PermissionDenied, "denied"));
    assert_shows(error, ErrorKind::Io, "cannot write \"out\": denied; check its permissions");
    let error =
        Error::io("read", "dir", io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
    assert_shows(error, ErrorKind::Io, "cannot read \"dir\": is a directory; name a file instead");
    let error =
        Error::io("open", "file", io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
    assert_shows(
        error,
        ErrorKind::Io,
        "cannot open \"file\": not a directory; name a directory instead",
    );
    let error = Error::io("read", "x", io::Error::other("input/output error"));
    assert_shows(
        error,
        ErrorKind::Io,
        "cannot read \"x\": input/output error; check the disk and run it again",
    );
}

#[test]
fn full_disk_and_full_quota_become_no_space() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        assert_shows(
            Error::io("write", "out.wcodec", io::Error::new(kind, "full")),
            ErrorKind::NoSpace,
            "cannot write \"out.wcodec\": full; free some space or choose another disk, then run it again",
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn linux_error_numbers_become_no_space() {
    for (name, number) in [("ENOSPC", 28), ("EDQUOT", 122)] {
        let error = Error::io("write", "out", io::Error::from_raw_os_error(number));
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{name}");
    }
}

#[test]
fn target_exists_names_the_option() {
    assert_shows(
        Error::TargetExists { path: "out.wcodec".into() },
        ErrorKind::TargetExists,
        "\"out.wcodec\" already exists; choose another name, or replace it with --force (`overwrite` in the library)",
    );
}

#[test]
fn unfinished_counts_what_is_there() {
    assert_shows(
        Error::Unfinished { what: "m.wcodec".into(), bytes: 9000 },
        ErrorKind::Truncated,
        "m.wcodec was cut off, or never finished: its 9000 bytes don't end with an end mark; download or copy it again",
    );
}

#[test]
fn truncated_and_corrupt_say_where() {
    assert_shows(
        Error::Truncated {
            what: "\"m.wcodec\"".into(),
            location: "the footer (offset 4096)".into(),
            expected: 64,
            actual: 12,
        },
        ErrorKind::Truncated,
        "\"m.wcodec\" is cut short at the footer (offset 4096): 64 bytes are needed and 12 are there; \
         download or copy it again",
    );
    assert_shows(
        Error::Corrupt {
            what: "tensor \"w\"".into(),
            location: "block 3".into(),
            detail: "a state does not end at its lower bound".into(),
        },
        ErrorKind::Corrupt,
        "tensor \"w\" is damaged at block 3: a state does not end at its lower bound; download or copy it again",
    );
    assert_shows(
        Error::ChecksumMismatch {
            what: "tensor \"w\"".into(),
            location: "chunk 7".into(),
            expected: "00ff".into(),
            actual: "00fe".into(),
        },
        ErrorKind::Corrupt,
        "tensor \"w\" is damaged at chunk 7: its checksum is 00fe instead of 00ff; download or copy it again",
    );
}

#[test]
fn unsupported_version_says_update() {
    assert_shows(
        Error::UnsupportedVersion { what: "\"m.wcodec\"".into(), found: 9, newest_supported: 1 },
        ErrorKind::Unsupported,
        "\"m.wcodec\" has format version 9, and this release reads versions up to 1; update wcodec",
    );
}

#[test]
fn invalid_safetensors_adds_advice_and_tells_truncation_apart() {
    let invalid = |problem| Error::InvalidSafetensors { path: "m.safetensors".into(), problem };
    assert_shows(
        invalid(SafetensorsProblem::FileTooShort { file_len: 5 }),
        ErrorKind::Truncated,
        "\"m.safetensors\" is not a valid .safetensors file: it has 5 bytes, fewer than the 8 of the header length; \
         download or copy it again",
    );
    assert_shows(
        invalid(SafetensorsProblem::TrailingBytes { bytes: 16 }),
        ErrorKind::InvalidInput,
        "\"m.safetensors\" is not a valid .safetensors file: its last 16 byte(s) belong to no tensor; \
         save it again with a current safetensors library",
    );
}

#[test]
fn not_found_suggests_similar_names_most_similar_first() {
    let names =
        ["encoder.layer.0.weight", "encoder.layer.1.weight", "encoder.layer.0.weights", "zzz"];
    assert_shows(
        Error::tensor_not_found("m.wcodec", "encoder.layer.0.wieght", names),
        ErrorKind::NotFound,
        "\"m.wcodec\" has no tensor named \"encoder.layer.0.wieght\"; did you mean \"encoder.layer.0.weight\" \
         or \"encoder.layer.0.weights\" or \"encoder.layer.1.weight\"?",
    );
    assert_shows(
        Error::tensor_not_found("m.wcodec", "bias", ["zzz"]),
        ErrorKind::NotFound,
        "\"m.wcodec\" has no tensor named \"bias\"; list its tensors to see their names",
    );
}

#[test]
fn remaining_messages() {
    assert_shows(
        Error::InvalidArgument { what: "--threads 0".into(), detail: "give at least 1".into() },
        ErrorKind::InvalidInput,
        "--threads 0 is not usable: give at least 1",
    );
    assert_shows(
        Error::Mismatch {
            left: "\"m.wcodec\"".into(),
            right: "\"m.safetensors\"".into(),
            detail: "byte 12 of tensor \"w\" is 3 instead of 4".into(),
        },
        ErrorKind::Mismatch,
        "\"m.wcodec\" differs from \"m.safetensors\": byte 12 of tensor \"w\" is 3 instead of 4; \
         compress the original again if it is the one to keep",
    );
    assert_shows(
        Error::Gpu { action: "load the kernels".into(), detail: "driver too old".into() },
        ErrorKind::Gpu,
        "the GPU cannot load the kernels: driver too old; decode on the CPU instead, which gives the same bytes",
    );
    assert_shows(
        Error::Internal { detail: "tensor \"w\" did not decode to itself".into() },
        ErrorKind::Internal,
        "internal error: tensor \"w\" did not decode to itself; nothing was written, \
         please report this as a bug in wcodec",
    );
}

#[test]
fn foreign_strings_are_escaped_and_shortened() {
    let name = format!("\u{1b}[31m{}", "a".repeat(1000));
    let message = Error::tensor_not_found("bad\u{7}name", &name, []).to_string();
    assert!(
        message.starts_with("\"bad\\u{7}name\" has no tensor named \"\\u{1b}[31maaa"),
        "{message}"
    );
    assert!(message.len() < 250, "{message}");
    assert!(!message.chars().any(char::is_control));
    assert_eq!(clipped(&"é".repeat(MAX_QUOTED_CHARS)), "é".repeat(MAX_QUOTED_CHARS));
}

#[test]
fn bases_are_named_by_their_sha256() {
    assert_shows(
        Error::MissingBase { path: "t.wcodec".into(), sha256: "00ff".into() },
        ErrorKind::InvalidInput,
        "\"t.wcodec\" is stored against another checkpoint, and none was given; name the file with \
         SHA-256 00ff with --base (`with_base` in the library)",
    );
    assert_shows(
        Error::WrongBase {
            path: "t.wcodec".into(),
            base: "m.safetensors".into(),
            expected: "00ff".into(),
            actual: "11ee".into(),
        },
        ErrorKind::Mismatch,
        "\"m.safetensors\" is not the base of \"t.wcodec\": its SHA-256 is 11ee instead of 00ff; give the \
         file that was the base when it was encoded",
    );
}

#[test]
fn exit_codes_are_distinct_and_leave_success_and_usage_alone() {
    let kinds = [
        ErrorKind::Internal,
        ErrorKind::Io,
        ErrorKind::NoSpace,
        ErrorKind::TargetExists,
        ErrorKind::Truncated,
        ErrorKind::Corrupt,
        ErrorKind::Unsupported,
        ErrorKind::InvalidInput,
        ErrorKind::NotFound,
        ErrorKind::Mismatch,
        ErrorKind::Gpu,
    ];
    let mut codes: Vec<u8> = kinds.iter().map(|kind| kind.exit_code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
}

#[test]
fn source_is_kept_for_callers_that_inspect_it() {
    let error = Error::io("read", "x", io::Error::from(io::ErrorKind::TimedOut));
    let source =
        std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::TimedOut));
}

#[test]
fn errors_cross_threads() {
    fn assert_send_sync<T: Send + Sync + 'static>() {}
    assert_send_sync::<Error>();
}

#[test]
fn cancelled_says_what_is_left() {
    assert_shows(
        Error::Cancelled { path: "m.wcodec".into() },
        ErrorKind::Interrupted,
        "\"m.wcodec\" was not loaded, because that was cancelled; nothing of it is kept",
    );
}
