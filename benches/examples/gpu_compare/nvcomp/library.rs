//! The functions of nvCOMP's batched ANS, as `nvcomp/ans.h` of version 6.0 declares them.

use std::error::Error;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::path::Path;

use cuda_driver::raw::CUstream;

/// What every function returns; 0 is success. An `int`, since later versions may add values.
pub(super) type Status = c_int;

/// `nvcompType_t`: what nvCOMP is told that the data are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) enum DataType {
    Char = 0,
    Float8E4M3 = 9,
    Float16 = 10,
    Float32 = 11,
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Char => "CHAR",
            Self::Float8E4M3 => "FLOAT8_E4M3",
            Self::Float16 => "FLOAT16",
            Self::Float32 => "FLOAT32",
        })
    }
}

/// `nvcompBatchedANSCompressOpts_t`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct CompressOptions {
    /// Always `nvcomp_rANS`, 0.
    algorithm: c_uint,
    data_type: DataType,
    max_sub_chunk_count: u8,
    states_per_lane: u8,
    histogram_reduction_log2: u8,
    reserved: [u8; 53],
}

/// `nvcompBatchedANSDecompressOpts_t`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct DecompressOptions {
    /// Always `NVCOMP_DECOMPRESS_BACKEND_DEFAULT`, 0.
    backend: c_uint,
    data_type: DataType,
    max_sub_chunk_count: u8,
    states_per_lane: u8,
    skip_validate: u8,
    reserved: [u8; 53],
}

// They are passed by value, so that a size other than the header's would move other arguments.
const _: () = assert!(size_of::<CompressOptions>() == 64 && size_of::<DecompressOptions>() == 64);
const _: () = assert!(align_of::<CompressOptions>() == 4 && align_of::<DecompressOptions>() == 4);

impl CompressOptions {
    /// nvCOMP's defaults but for these two.
    pub(super) fn new(data_type: DataType, states_per_lane: u8) -> Self {
        Self {
            algorithm: 0,
            data_type,
            max_sub_chunk_count: 0,
            states_per_lane,
            histogram_reduction_log2: 0,
            reserved: [0; 53],
        }
    }
}

impl DecompressOptions {
    /// The type and the states that the data were compressed with, which choose more specialised
    /// kernels than finding them in the data does.
    pub(super) fn new(data_type: DataType, states_per_lane: u8, skip_validate: bool) -> Self {
        Self {
            backend: 0,
            data_type,
            max_sub_chunk_count: 0,
            states_per_lane,
            skip_validate: u8::from(skip_validate),
            reserved: [0; 53],
        }
    }
}

/// `nvcompProperties_t`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Properties {
    /// 1000 times the major, 100 times the minor version, and the patch.
    version: c_uint,
    cudart_version: c_uint,
}

type GetProperties = unsafe extern "C" fn(*mut Properties) -> Status;
type GetStatusString = unsafe extern "C" fn(Status) -> *const c_char;
/// Bytes of a chunk, options; the most bytes that it is compressed to.
type MaxOutputChunkSize = unsafe extern "C" fn(usize, CompressOptions, *mut usize) -> Status;
/// Number of chunks, bytes of the largest, options; bytes of the workspace; bytes of all chunks,
/// stream.
type TempSize<Options> =
    unsafe extern "C" fn(usize, usize, Options, *mut usize, usize, CUstream) -> Status;
/// Addresses and bytes of the chunks, bytes of the largest, number of chunks; workspace and its
/// bytes; addresses and found bytes of what they are compressed to; options, statuses, stream.
type CompressAsync = unsafe extern "C" fn(
    *const u64,
    *const usize,
    usize,
    usize,
    *mut c_void,
    usize,
    *const u64,
    *mut usize,
    CompressOptions,
    *mut Status,
    CUstream,
) -> Status;
/// Addresses and bytes of the compressed chunks, bytes of the buffers for their content, bytes
/// found; number of chunks; workspace and its bytes; addresses of the buffers; options, statuses,
/// stream.
type DecompressAsync = unsafe extern "C" fn(
    *const u64,
    *const usize,
    *const usize,
    *mut usize,
    usize,
    *mut c_void,
    usize,
    *const u64,
    DecompressOptions,
    *mut Status,
    CUstream,
) -> Status;

/// nvCOMP, once it is loaded. Arrays that its functions take lie in device memory.
pub(super) struct Library {
    get_properties: GetProperties,
    get_status_string: GetStatusString,
    pub(super) max_output_chunk_size: MaxOutputChunkSize,
    pub(super) compress_temp_size: TempSize<CompressOptions>,
    pub(super) compress: CompressAsync,
    pub(super) decompress_temp_size: TempSize<DecompressOptions>,
    pub(super) decompress: DecompressAsync,
}

impl Library {
    /// Loads the library at `path`, and keeps it loaded until the process ends: the CUDA runtime
    /// inside it leaves handlers behind that run then.
    pub(super) fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        // SAFETY: the user names nvCOMP, whose initialisers are those of the CUDA runtime.
        let library = unsafe { libloading::Library::new(path) };
        let library =
            library.map_err(|error| format!("cannot load {}: {error}", path.display()))?;
        let library: &'static libloading::Library = Box::leak(Box::new(library));
        macro_rules! find {
            ($name:literal) => {{
                // SAFETY: the type of the field that it goes to is the header's for this name,
                // enumerations being `int`s and device addresses pointers.
                let symbol = unsafe { library.get(concat!($name, "\0").as_bytes()) };
                *symbol.map_err(|error| format!("{} is no nvCOMP: {error}", path.display()))?
            }};
        }
        Ok(Self {
            get_properties: find!("nvcompGetProperties"),
            get_status_string: find!("nvcompGetStatusString"),
            max_output_chunk_size: find!("nvcompBatchedANSCompressGetMaxOutputChunkSize"),
            compress_temp_size: find!("nvcompBatchedANSCompressGetTempSize"),
            compress: find!("nvcompBatchedANSCompressAsync"),
            decompress_temp_size: find!("nvcompBatchedANSDecompressGetTempSize"),
            decompress: find!("nvcompBatchedANSDecompressAsync"),
        })
    }

    /// The version, as in `6.0.0`.
    pub(super) fn version(&self) -> Result<String, String> {
        let mut properties = Properties::default();
        // SAFETY: the function writes the properties and nothing else.
        let status = unsafe { (self.get_properties)(&mut properties) };
        self.check(status, "tell its version")?;
        let version = properties.version;
        Ok(format!("{}.{}.{}", version / 1000, version % 1000 / 100, version % 100))
    }

    /// An error where `status` is one; `action` completes "nvCOMP cannot".
    pub(super) fn check(&self, status: Status, action: &str) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the function takes any number.
        let text = unsafe { (self.get_status_string)(status) };
        let text = if text.is_null() {
            "a status without a name".into()
        } else {
            // SAFETY: not null, so one of the library's constant strings, which end in a zero.
            unsafe { CStr::from_ptr(text) }.to_string_lossy()
        };
        Err(format!("nvCOMP cannot {action}: {text} ({status})"))
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn options_lie_where_the_header_has_them() {
        assert_eq!(offset_of!(CompressOptions, data_type), 4);
        assert_eq!(offset_of!(CompressOptions, states_per_lane), 9);
        assert_eq!(offset_of!(CompressOptions, reserved), 11);
        assert_eq!(offset_of!(DecompressOptions, data_type), 4);
        assert_eq!(offset_of!(DecompressOptions, skip_validate), 10);
        assert_eq!(offset_of!(DecompressOptions, reserved), 11);
    }

    #[test]
    fn what_is_not_nvcomp_is_refused_by_name() {
        let error = Library::open(Path::new("/nonexistent/libnvcomp.so")).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/libnvcomp.so"), "{error}");
    }
}
