//! The library behind the forwarders.

use std::fmt;
use std::sync::OnceLock;

use libloading::{Library, Symbol};

/// Names under which drivers install the library.
const NAMES: [&str; 2] =
    if cfg!(windows) { ["nvcuda.dll", "nvcuda.dll"] } else { ["libcuda.so.1", "libcuda.so"] };

/// Why there is no driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    detail: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no NVIDIA driver: {}", self.detail)
    }
}

impl std::error::Error for Unavailable {}

static LIBRARY: OnceLock<Result<Library, Unavailable>> = OnceLock::new();

fn library() -> Result<&'static Library, &'static Unavailable> {
    LIBRARY
        .get_or_init(|| {
            let mut detail = String::new();
            for name in NAMES {
                // SAFETY: loading runs the initialisers of NVIDIA's driver library, which may be
                // loaded at any time from any thread.
                match unsafe { Library::new(name) } {
                    Ok(library) => return Ok(library),
                    Err(error) if detail.is_empty() => detail = error.to_string(),
                    Err(_) => {}
                }
            }
            Err(Unavailable { detail })
        })
        .as_ref()
}

/// Whether a driver library is there; [`cust::init`] says whether it works.
///
/// # Errors
///
/// When there is none, and what the loader said.
pub fn available() -> Result<(), Unavailable> {
    library().map(|_| ()).map_err(Clone::clone)
}

/// The driver's function `name`, or `None` without a driver.
///
/// # Safety
///
/// `F` is the type of the function.
pub(crate) unsafe fn function<F>(
    name: &str,
) -> Option<Result<Symbol<'static, F>, libloading::Error>> {
    let library = library().ok()?;
    // SAFETY: the caller's promise.
    Some(unsafe { library.get::<F>(name.as_bytes()) })
}
