//! Every rule of the format, broken once, with the message it gives.

use super::*;
use crate::error::ErrorKind;

/// A file of this JSON and this many bytes of data.
fn file(json: &str, data_len: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend((0..data_len).map(|index| (index % 251) as u8));
    bytes
}

fn parse_json(json: &str, data_len: usize) -> Result<Header> {
    parse(&file(json, data_len), Path::new("m.safetensors"))
}

/// Asserts kind and message, the latter without the part that all messages begin with.
#[track_caller]
fn assert_invalid(bytes: &[u8], kind: ErrorKind, message: &str) {
    let error = parse(bytes, Path::new("m.safetensors")).unwrap_err();
    let shown = error.to_string();
    let start = "\"m.safetensors\" is not a valid .safetensors file: ";
    assert_eq!(shown.strip_prefix(start), Some(message), "{shown}");
    assert_eq!(error.kind(), kind);
}

const SAVE_AGAIN: &str = "; save it again with a current safetensors library";
const DOWNLOAD: &str = "; download or copy it again";
const CHECK_IT: &str = "; check that it is a .safetensors file, and download or copy it again";

/// Asserts the message of a file whose header is wrong, without the advice at its end.
#[track_caller]
fn assert_invalid_json(json: &str, data_len: usize, message: &str) {
    assert_invalid(
        &file(json, data_len),
        ErrorKind::InvalidInput,
        &format!("{message}{SAVE_AGAIN}"),
    );
}

#[test]
fn reads_names_types_shapes_and_absolute_offsets_by_offset() {
    let json = r#"{"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},
        "__metadata__":{"format":"pt","a":""},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   "#;
    let bytes = file(json, 16);
    let header = parse(&bytes, Path::new("m.safetensors")).unwrap();
    let data_start = 8 + json.len() as u64;
    assert_eq!(header.header_bytes, 0..8 + json.len());
    assert_eq!(header.data_start, data_start);
    let metadata = header.metadata.clone().unwrap();
    assert_eq!(
        metadata.into_iter().collect::<Vec<_>>(),
        [("a".into(), "".into()), ("format".into(), "pt".into())]
    );
    let names: Vec<&str> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let b = header.tensor("b").unwrap();
    assert_eq!((&b.dtype, b.shape.as_slice()), (&Dtype::BF16, [2, 3].as_slice()));
    assert_eq!((b.start, b.end), (data_start + 4, data_start + 16));
    assert_eq!((b.element_count(), b.byte_len()), (6, 12));
    assert_eq!(b.bytes(&bytes), Some(&bytes[8 + json.len() + 4..]));
    assert_eq!(b.bytes(&bytes[..bytes.len() - 1]), None);
    assert_eq!(header.tensors[0].element_count(), 1);
    assert_eq!(header.tensor("c"), None);
}

#[test]
fn files_without_tensors_are_valid() {
    for json in
        ["{}", "{}      ", " {}", r#"{"__metadata__":{"format":"pt"}}"#, r#"{"__metadata__":null}"#]
    {
        let header = parse_json(json, 0).unwrap();
        assert!(header.tensors.is_empty());
        assert_eq!(header.metadata.is_some(), json.contains("format"), "{json}");
    }
}

#[test]
fn empty_tensors_may_share_an_offset_at_every_boundary() {
    let json = r#"{"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},
        "y":{"dtype":"F32","shape":[3,0,2],"data_offsets":[0,0]},
        "a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
        "b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},
        "x":{"dtype":"I64","shape":[0],"data_offsets":[2,2]},
        "w":{"dtype":"F4","shape":[0],"data_offsets":[3,3]}}"#;
    let header = parse_json(json, 3).unwrap();
    let names: Vec<&str> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["z", "y", "a", "x", "b", "w"]);
    assert_eq!(header.tensor("y").unwrap().element_count(), 0);
}

#[test]
fn packed_types_count_bits() {
    let json = r#"{"a":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]},
        "b":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[3,6]}}"#;
    assert_eq!(parse_json(json, 6).unwrap().tensors[1].dtype, Dtype::F6E2M3);
    assert_invalid_json(
        r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#,
        2,
        "tensor \"a\" of dtype F4 with shape [3] does not fill whole bytes",
    );
}

#[test]
fn unknown_types_may_have_any_size() {
    let json = r#"{"a":{"dtype":"F2_NEW","shape":[7],"data_offsets":[0,5]}}"#;
    assert_eq!(parse_json(json, 5).unwrap().tensors[0].dtype, Dtype::Other("F2_NEW".into()));
}

#[test]
fn unknown_members_of_an_entry_are_skipped() {
    let json = r#"{"a":{"dtype":"U8","note":{"deep":[1]},"shape":[1],"data_offsets":[0,1]}}"#;
    assert_eq!(parse_json(json, 1).unwrap().tensors.len(), 1);
}

#[test]
fn short_files() {
    for len in 0..8 {
        let message =
            format!("it has {len} bytes, fewer than the 8 of the header length{DOWNLOAD}");
        assert_invalid(&vec![0; len], ErrorKind::Truncated, &message);
    }
    assert_invalid(
        &file("{}", 0)[..9],
        ErrorKind::Truncated,
        &format!("its header claims 2 bytes, and the file has 1 after the header length{DOWNLOAD}"),
    );
}

#[test]
fn things_that_are_no_safetensors_file() {
    assert_invalid(
        b"<!DOCTYPE html><html>",
        ErrorKind::InvalidInput,
        &format!(
            "its header claims 5789751444030890300 bytes, more than the 100000000 that the format allows{CHECK_IT}"
        ),
    );
    assert_invalid(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        ErrorKind::InvalidInput,
        "it is a Git LFS pointer, not the file it stands for; fetch the file with `git lfs pull`",
    );
    assert_invalid(
        &[0; 8],
        ErrorKind::InvalidInput,
        &format!("its header does not start with an opening brace{CHECK_IT}"),
    );
    assert_invalid(
        &file("[1]", 0),
        ErrorKind::InvalidInput,
        &format!("its header does not start with an opening brace{CHECK_IT}"),
    );
}

#[test]
fn header_length_limit_is_inclusive() {
    let mut bytes = (MAX_HEADER_BYTES).to_le_bytes().to_vec();
    assert_invalid(
        &bytes,
        ErrorKind::Truncated,
        &format!(
            "its header claims 100000000 bytes, and the file has 0 after the header length{DOWNLOAD}"
        ),
    );
    bytes[..8].copy_from_slice(&(MAX_HEADER_BYTES + 1).to_le_bytes());
    assert_invalid(
        &bytes,
        ErrorKind::InvalidInput,
        &format!(
            "its header claims 100000001 bytes, more than the 100000000 that the format allows{CHECK_IT}"
        ),
    );
}

#[test]
fn header_must_be_utf8_and_json_of_the_right_form() {
    let mut bytes = file("{\"aa\":1}", 0);
    bytes[11] = 0xFF;
    let message = format!("its header is not UTF-8 from byte 11 of the file on{CHECK_IT}");
    assert_invalid(&bytes, ErrorKind::InvalidInput, &message);
    assert_invalid_json(
        "{",
        0,
        "its header is not the expected JSON: EOF while parsing an object at line 1 column 1",
    );
    assert_invalid_json(
        "{}{}",
        0,
        "its header is not the expected JSON: trailing characters at line 1 column 3",
    );
    assert_invalid_json(
        r#"{"a":{"dtype":"U8","shape":[1]}}"#,
        0,
        "its header is not the expected JSON: missing field `data_offsets` at line 1 column 31",
    );
    assert_invalid_json(
        r#"{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#,
        1,
        "its header is not the expected JSON: duplicate field `dtype` at line 1 column 26",
    );
    assert_invalid_json(
        r#"{"a":1}"#,
        0,
        "its header is not the expected JSON: invalid type: integer `1`, \
         expected an object with dtype, shape and data_offsets at line 1 column 6",
    );
    assert_invalid_json(
        r#"{"__metadata__":{"step":1}}"#,
        0,
        "its header is not the expected JSON: invalid type: integer `1`, expected a string at line 1 column 25",
    );
}

#[test]
fn numbers_must_be_unsigned_64_bit_integers() {
    for (number, shown) in [
        ("-1", "integer `-1`, expected u64"),
        ("1.5", "floating point `1.5`, expected u64"),
        ("18446744073709551616", "floating point `1.8446744073709552e+19`, expected u64"),
    ] {
        let json = format!(r#"{{"a":{{"dtype":"U8","shape":[{number}],"data_offsets":[0,1]}}}}"#);
        let error = parse_json(&json, 1).unwrap_err();
        assert!(error.to_string().contains(shown), "{error}");
    }
    for offsets in ["[0]", "[0,1,1]", "[-0.5,1]", "null", "\"0,1\""] {
        let json = format!(r#"{{"a":{{"dtype":"U8","shape":[1],"data_offsets":{offsets}}}}}"#);
        let Err(Error::InvalidSafetensors { problem, .. }) = parse_json(&json, 1) else {
            panic!("{offsets} was accepted");
        };
        assert!(matches!(problem, SafetensorsProblem::HeaderNotJson { .. }), "{problem}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let nesting = "[".repeat(1_000_000);
    let json = format!(r#"{{"a":{{"note":{nesting}"#);
    assert_invalid_json(
        &json,
        0,
        "its header is not the expected JSON: EOF while parsing a list at line 1 column 1000013",
    );
    let json = format!(r#"{{"a":{{"dtype":"U8","shape":{nesting}"#);
    assert_invalid_json(
        &json,
        0,
        "its header is not the expected JSON: invalid type: sequence, expected u64 at line 1 column 28",
    );
}

#[test]
fn repeated_names_are_found() {
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    assert_invalid_json(
        &format!(r#"{{"a":{entry},"b":{entry},"\u0061":{entry}}}"#),
        0,
        "the name \"a\" occurs twice in its header",
    );
    assert_invalid_json(
        r#"{"__metadata__":{},"__metadata__":{}}"#,
        0,
        "the name \"__metadata__\" occurs twice in its header",
    );
    assert_invalid_json(
        r#"{"__metadata__":{"k":"1","k":"2"}}"#,
        0,
        "the name \"k\" occurs twice in its header",
    );
}

#[test]
fn limits_are_inclusive() {
    let entry = |dtype: &str, shape: &str| {
        format!(r#"{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[0,1]}}"#)
    };
    let longest = "n".repeat(MAX_NAME_BYTES);
    parse_json(&format!(r#"{{"{longest}":{}}}"#, entry("U8", "1")), 1).unwrap();
    assert_invalid_json(
        &format!(r#"{{"{longest}n":{}}}"#, entry("U8", "1")),
        1,
        &format!(
            "the tensor name starting with \"{}…\" has 4097 bytes, more than 4096",
            "n".repeat(120)
        ),
    );
    let dtype = "d".repeat(MAX_DTYPE_NAME_BYTES);
    parse_json(&format!(r#"{{"a":{}}}"#, entry(&dtype, "1")), 1).unwrap();
    assert_invalid_json(
        &format!(r#"{{"a":{}}}"#, entry(&(dtype + "d"), "1")),
        1,
        "the dtype of tensor \"a\" has a name of 65 bytes, more than 64",
    );
    let ones = vec!["1"; MAX_DIMENSIONS].join(",");
    assert_eq!(
        parse_json(&format!(r#"{{"a":{}}}"#, entry("U8", &ones)), 1).unwrap().tensors[0].shape,
        [1; 64]
    );
    for more in [1, 1000] {
        let json = format!(r#"{{"a":{}}}"#, entry("U8", &format!("{ones}{}", ",1".repeat(more))));
        assert_invalid_json(&json, 1, "tensor \"a\" has more than 64 dimensions");
    }
}

#[test]
fn sizes_must_agree() {
    assert_invalid_json(
        r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}}"#,
        20,
        "tensor \"a\" of dtype F32 with shape [2, 3] needs 24 bytes, and its offsets give it 20",
    );
    assert_invalid_json(
        r#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,0]}}"#,
        0,
        "tensor \"a\" of dtype F32 with shape [] needs 4 bytes, and its offsets give it 0",
    );
    assert_invalid_json(
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[5,4]}}"#,
        5,
        "tensor \"a\" ends at 4, before its start at 5",
    );
}

#[test]
fn sizes_must_not_overflow() {
    assert_invalid_json(
        r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
        0,
        "the size of tensor \"a\" with shape [4294967296, 4294967296] overflows 64 bits",
    );
    assert_invalid_json(
        r#"{"a":{"dtype":"U8","shape":[2305843009213693952],"data_offsets":[0,0]}}"#,
        0,
        "the size of tensor \"a\" with shape [2305843009213693952] overflows 64 bits",
    );
    assert_invalid_json(
        r#"{"a":{"dtype":"NEW","shape":[9223372036854775808,2],"data_offsets":[0,0]}}"#,
        0,
        "the size of tensor \"a\" with shape [9223372036854775808, 2] overflows 64 bits",
    );
}

#[test]
fn cut_data_is_a_truncation() {
    let json = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    assert_invalid(
        &file(json, 3),
        ErrorKind::Truncated,
        &format!("tensor \"a\" ends at byte 4 of the data, and the file has 3{DOWNLOAD}"),
    );
    let json = r#"{"a":{"dtype":"X","shape":[4],"data_offsets":[0,18446744073709551615]}}"#;
    assert_invalid(
        &file(json, 3),
        ErrorKind::Truncated,
        &format!(
            "tensor \"a\" ends at byte 18446744073709551615 of the data, and the file has 3{DOWNLOAD}"
        ),
    );
}

#[test]
fn every_truncation_is_an_error() {
    let whole = file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4);
    parse(&whole, Path::new("m.safetensors")).unwrap();
    for len in 0..whole.len() {
        let error = parse(&whole[..len], Path::new("m.safetensors")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "{len} bytes: {error}");
    }
}

#[test]
fn tensors_must_cover_the_data_exactly_once() {
    let two = |a: &str, b: &str, b_size: u64| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[{a}]}},
            "b":{{"dtype":"U8","shape":[{b_size}],"data_offsets":[{b}]}}}}"#
        )
    };
    parse_json(&two("0,4", "4,8", 4), 8).unwrap();
    parse_json(&two("4,8", "0,4", 4), 8).unwrap();
    assert_invalid_json(&two("0,4", "3,7", 4), 7, "tensors \"a\" and \"b\" overlap");
    assert_invalid_json(&two("0,4", "0,4", 4), 4, "tensors \"a\" and \"b\" overlap");
    assert_invalid_json(&two("0,4", "2,2", 0), 4, "tensors \"a\" and \"b\" overlap");
    assert_invalid_json(
        &two("0,4", "5,9", 4),
        9,
        "1 byte(s) before tensor \"b\" belong to no tensor",
    );
    assert_invalid_json(
        &two("2,6", "6,10", 4),
        10,
        "2 byte(s) before tensor \"a\" belong to no tensor",
    );
    assert_invalid_json(
        &two("0,4", "5,5", 0),
        5,
        "1 byte(s) before tensor \"b\" belong to no tensor",
    );
    assert_invalid_json(&two("0,4", "4,8", 4), 11, "its last 3 byte(s) belong to no tensor");
    assert_invalid_json("{}", 1, "its last 1 byte(s) belong to no tensor");
}

#[test]
fn any_flipped_bit_gives_a_checked_header_or_an_error() {
    let whole = file(
        r#"{"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]},"b":{"dtype":"F4","shape":[6],"data_offsets":[4,7]}}"#,
        7,
    );
    let mut rejected = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match parse(&bytes, Path::new("m.safetensors")) {
            Ok(header) => {
                let covered: u64 = header.tensors.iter().map(TensorEntry::byte_len).sum();
                assert_eq!(header.data_start + covered, bytes.len() as u64, "bit {bit}");
            }
            Err(_) => rejected += 1,
        }
    }
    assert!(rejected > whole.len(), "only {rejected} flips were rejected");
}

#[test]
fn the_fixture_holds_every_common_type() {
    let bytes =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/minilm-cut.safetensors"));
    let header = parse(bytes, Path::new("minilm-cut.safetensors")).unwrap();
    for dtype in ["F32", "BF16", "F16", "I8", "F8_E4M3", "U8", "I64", "BOOL"] {
        assert!(header.tensors.iter().any(|tensor| tensor.dtype.name() == dtype), "{dtype}");
    }
    assert_eq!(header.tensors[0].shape, [1, 512]);
    let first_positions = header.tensors[0].bytes(bytes).unwrap().chunks_exact(8).take(3);
    assert!(first_positions.eq([0_u64, 1, 2].map(u64::to_le_bytes)));
}
