//! The one function of cuBLAS that the example takes, from the library that CUDA or PyTorch installs.

use std::error::Error;
use std::ffi::{c_int, c_void};
use std::ptr;

use libloading::Library;

/// `CUDA_R_16BF`, `CUBLAS_COMPUTE_32F`, `CUBLAS_GEMM_DEFAULT`, `CUBLAS_OP_N` and `CUBLAS_OP_T`.
const BF16: c_int = 14;
const COMPUTE_F32: c_int = 68;
const DEFAULT_ALGORITHM: c_int = -1;
const AS_IT_IS: c_int = 0;
const TRANSPOSED: c_int = 1;

type Create = unsafe extern "C" fn(*mut *mut c_void) -> c_int;
type SetStream = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type GemmEx = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const f32,
    u64,
    c_int,
    c_int,
    u64,
    c_int,
    c_int,
    *const f32,
    u64,
    c_int,
    c_int,
    c_int,
    c_int,
) -> c_int;

/// A handle whose work goes to one stream. It lives as long as the process, as the library does.
pub(crate) struct Cublas {
    handle: *mut c_void,
    gemm: GemmEx,
}

impl Cublas {
    /// Opens the library that the variable `CUBLAS` names, or one of the usual names.
    pub(crate) fn new(stream: *mut c_void) -> Result<Self, Box<dyn Error>> {
        let named = std::env::var("CUBLAS").ok();
        let usual = ["libcublas.so.13", "libcublas.so.12", "libcublas.so"].map(str::to_owned);
        let mut last = "no name".to_owned();
        for name in named.into_iter().chain(usual) {
            // SAFETY: the initialisers of NVIDIA's library may run at any time.
            match unsafe { Library::new(&name) } {
                Ok(library) => return Self::open(Box::leak(Box::new(library)), stream),
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("cuBLAS is not there ({last}); name it with the variable CUBLAS").into())
    }

    fn open(library: &'static Library, stream: *mut c_void) -> Result<Self, Box<dyn Error>> {
        // SAFETY: the type is that of cublas_api.h for this name.
        let create = unsafe { library.get::<Create>(b"cublasCreate_v2")? };
        // SAFETY: as above.
        let set_stream = unsafe { library.get::<SetStream>(b"cublasSetStream_v2")? };
        // SAFETY: as above; pointers to device memory are numbers here.
        let gemm = unsafe { library.get::<GemmEx>(b"cublasGemmEx")? };
        let mut handle = ptr::null_mut();
        // SAFETY: one handle is written, to `handle`.
        check(unsafe { create(&mut handle) })?;
        // SAFETY: both handles are valid.
        check(unsafe { set_stream(handle, stream) })?;
        Ok(Self { handle, gemm: *gemm })
    }

    /// Queues `out = input x weights^T` of row-major matrices of BF16: `input` has `batch` rows of
    /// `columns`, `weights` have `rows` of as many, and so `out` has `batch` rows of `rows`.
    ///
    /// # Safety
    ///
    /// The addresses are of device memory with so many elements, until the stream has passed this.
    pub(crate) unsafe fn multiply(
        &self,
        (rows, columns, batch): (u64, u64, u64),
        weights: u64,
        input: u64,
        out: u64,
    ) -> Result<(), Box<dyn Error>> {
        let (rows, columns, batch) = (rows as c_int, columns as c_int, batch as c_int);
        let (one, zero) = (1f32, 0f32);
        // cuBLAS takes matrices column by column: row-major ones are transposed to it.
        // SAFETY: the caller's promise; `one` and `zero` are read before the call returns.
        check(unsafe {
            (self.gemm)(
                self.handle,
                TRANSPOSED,
                AS_IT_IS,
                rows,
                batch,
                columns,
                &one,
                weights,
                BF16,
                columns,
                input,
                BF16,
                columns,
                &zero,
                out,
                BF16,
                rows,
                COMPUTE_F32,
                DEFAULT_ALGORITHM,
            )
        })
    }
}

fn check(status: c_int) -> Result<(), Box<dyn Error>> {
    if status == 0 { Ok(()) } else { Err(format!("cuBLAS returns status {status}").into()) }
}
