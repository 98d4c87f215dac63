//! A binary that uses `cust` starts everywhere, and says whether there is a driver.

use cuda_driver::cust::error::CudaError;
use cuda_driver::cust::{self, CudaFlags};

#[test]
fn initialisation_succeeds_or_says_that_there_is_no_driver() {
    match cuda_driver::available() {
        Ok(()) => assert_ne!(cust::init(CudaFlags::empty()), Err(CudaError::UnknownError)),
        Err(unavailable) => {
            assert!(unavailable.to_string().contains("libcuda"), "{unavailable}");
            // 34 is CUDA_ERROR_STUB_LIBRARY, which cust has no name for.
            assert!(cust::init(CudaFlags::empty()).is_err());
        }
    }
}
