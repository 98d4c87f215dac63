//! A binary that uses `cust` starts everywhere, and says whether there is a driver.

use cuda_driver::cust::error::CudaError;
use cuda_driver::cust::{self, CudaFlags};
use cuda_driver::raw::CUresult;

#[test]
fn initialisation_succeeds_or_says_that_there_is_no_driver() {
    match cuda_driver::available() {
        Ok(()) => assert_ne!(cust::init(CudaFlags::empty()), Err(CudaError::UnknownError)),
        Err(unavailable) => {
            assert!(unavailable.to_string().contains("libcuda"), "{unavailable}");
            // SAFETY: without a driver, the function does nothing but return.
            let result = unsafe { cuda_driver::raw::cuInit(0) };
            assert_eq!(result, CUresult::CUDA_ERROR_STUB_LIBRARY);
            // Which cust has no name for.
            assert_eq!(cust::init(CudaFlags::empty()), Err(CudaError::UnknownError));
        }
    }
}
