//! Which vector instructions the CPU decoder and encoder use.

use std::sync::OnceLock;

use codec::simd::Level;

use crate::error::{Error, Result};

/// Names a slower level than the processor has, for tests and comparisons.
const VARIABLE: &str = "WCODEC_SIMD";

/// The level in use: the processor's best, or the one that the environment variable `WCODEC_SIMD`
/// names (`avx512`, `avx2` or `portable`).
///
/// # Errors
///
/// When the variable names a level that does not exist or that this processor does not have.
pub fn simd_level() -> Result<&'static str> {
    match std::env::var(VARIABLE) {
        Ok(name) => named(&name).map(Level::name),
        Err(_) => Ok(Level::best().name()),
    }
}

fn named(name: &str) -> Result<Level> {
    Level::available().find(|level| level.name() == name).ok_or_else(|| {
        let names: Vec<_> = Level::available().map(Level::name).collect();
        Error::InvalidArgument {
            what: format!("the environment variable {VARIABLE}"),
            detail: format!("\"{name}\" is none of this processor's levels: {}", names.join(", ")),
        }
    })
}

/// The same for use on the way; a level that cannot be had is the best one there, about which
/// [`simd_level`] gives the error.
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok();
        name.and_then(|name| named(&name).ok()).unwrap_or_else(Level::best)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_by_name_and_others_refused() {
        for level in Level::available() {
            assert_eq!(named(level.name()).unwrap(), level);
        }
        let error = named("avx1024").unwrap_err().to_string();
        assert!(error.contains("avx1024") && error.contains("portable"), "{error}");
    }
}
