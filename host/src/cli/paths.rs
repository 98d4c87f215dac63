//! Where output goes when no name is given.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use wcodec::{Error, Result};

use super::answer::shown;

const FILE_SUFFIX: &str = ".wcodec";
const DIRECTORY_SUFFIX: &str = "-wcodec";

fn suffix(input: &Path) -> &'static str {
    if input.is_dir() { DIRECTORY_SUFFIX } else { FILE_SUFFIX }
}

/// `output`, or the name that `input` encodes to.
pub(super) fn encoded(input: &Path, output: Option<&Path>) -> Result<PathBuf> {
    if let Some(output) = output {
        return Ok(output.to_owned());
    }
    let mut name = input.file_name().map(OsString::from).ok_or_else(|| unnamed(input, "a name"))?;
    name.push(suffix(input));
    Ok(input.with_file_name(name))
}

/// `output`, or the name that `input` was encoded from.
pub(super) fn decoded(input: &Path, output: Option<&Path>) -> Result<PathBuf> {
    if let Some(output) = output {
        return Ok(output.to_owned());
    }
    let suffix = suffix(input);
    let stem = input
        .file_name()
        .and_then(|name| strip(name.to_owned(), suffix))
        .ok_or_else(|| unnamed(input, &format!("a name before {suffix}")))?;
    Ok(input.with_file_name(stem))
}

/// `name` without `suffix`, where something is left.
fn strip(name: OsString, suffix: &str) -> Option<OsString> {
    let path = PathBuf::from(&name);
    match (suffix, path.extension(), name.to_str()) {
        (FILE_SUFFIX, Some(extension), _) if extension == "wcodec" => {
            path.file_stem().map(OsString::from)
        }
        (_, _, Some(text)) => {
            text.strip_suffix(suffix).filter(|stem| !stem.is_empty()).map(OsString::from)
        }
        _ => None,
    }
}

fn unnamed(input: &Path, wanted: &str) -> Error {
    Error::InvalidArgument {
        what: format!("the input {:?} without an output", shown(input)),
        detail: format!("its path does not end in {wanted}; name the output with -o"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded_name(input: &str) -> Option<PathBuf> {
        decoded(Path::new(input), None).ok()
    }

    #[test]
    fn files_get_and_lose_their_suffix() {
        let encoded = encoded(Path::new("folder/m.safetensors"), None).unwrap();
        assert_eq!(encoded, Path::new("folder/m.safetensors.wcodec"));
        assert_eq!(decoded(&encoded, None).unwrap(), Path::new("folder/m.safetensors"));
        assert_eq!(decoded_name("m.safetensors"), None);
        assert_eq!(decoded_name(".wcodec"), None);
    }

    #[test]
    fn directories_get_and_lose_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("model-wcodec");
        std::fs::create_dir(&input).unwrap();
        assert_eq!(decoded(&input.join(""), None).unwrap(), folder.path().join("model"));
        assert_eq!(
            encoded(&input.join(""), None).unwrap(),
            folder.path().join("model-wcodec-wcodec")
        );
        assert!(encoded(&input.join(".."), None).is_err());
        assert!(decoded(folder.path(), None).is_err());
    }

    #[test]
    fn given_outputs_are_taken_as_they_are() {
        let output = Path::new("elsewhere/x");
        assert_eq!(encoded(Path::new(".."), Some(output)).unwrap(), output);
        assert_eq!(decoded(Path::new("m"), Some(output)).unwrap(), output);
    }
}
