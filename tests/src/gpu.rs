//! Whether tests and benches have a GPU, and whether they may go on without one.

use wcodec::Result;
use wcodec::gpu::Decoder;

/// The environment variable that makes a missing GPU an error.
pub const REQUIRE_GPU: &str = "WCODEC_REQUIRE_GPU";

/// A decoder on the first GPU; `None`, and a line that says why, where there is none.
///
/// # Errors
///
/// When there is none and the environment variable [`REQUIRE_GPU`] is set, whatever its value.
pub fn find_gpu() -> Result<Option<Decoder>, String> {
    require_gpu(std::env::var_os(REQUIRE_GPU).is_some(), Decoder::new(0))
}

/// The GPU that was `found`; `None`, and a line that says why, where there is none.
///
/// # Errors
///
/// When there is none and it is `required`.
pub fn require_gpu<T>(required: bool, found: Result<T>) -> Result<Option<T>, String> {
    match found {
        Ok(gpu) => Ok(Some(gpu)),
        Err(error) if required => {
            Err(format!("{REQUIRE_GPU} is set, and there is no GPU that decodes: {error}"))
        }
        Err(error) => {
            println!("skipped what needs a GPU: {error}");
            Ok(None)
        }
    }
}
