//! What a subcommand has to say.

use std::path::Path;

use serde_json::Value;

/// The result of a subcommand, as people read it and as scripts do.
pub(super) struct Answer {
    /// Lines of text, the last one ended too.
    pub(super) text: String,
    /// One object.
    pub(super) json: Value,
}

/// A path for either form; bytes that are no text are replaced.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A SHA-256 in words.
pub(super) fn digest_text(sha256: Option<&str>) -> &str {
    sha256.unwrap_or("not stored (encoded with --no-sha256)")
}

/// The same of a file that has been decoded, `compared` with it or not.
pub(super) fn compared_digest_text(sha256: Option<&str>, compared: bool) -> String {
    let note = if sha256.is_some() && !compared { " (not compared)" } else { "" };
    format!("{}{note}", digest_text(sha256))
}
