//! What becomes of a GPU that fails: `gpu_faults memory` and `gpu_faults lost`.
//!
//! `memory` takes device memory away until decoding fails, at the output, at the staging memory, at
//! the description of the work; each time everything has to be free again afterwards, and the same
//! decoder has to decode. `lost` makes the context unusable, as a fault of another program's kernel
//! does, and expects errors, and no panic, of all that follows.

use std::process::ExitCode;

use cuda_driver::cust;
use cust::memory::{DeviceBuffer, mem_get_info};
use cust::module::Module;
use cust::stream::{Stream, StreamFlags};
use wcodec::gpu::Decoder;
use wcodec::safetensors::Dtype;
use wcodec::{Checkpoint, EncodeOptions, ErrorKind, encode_safetensors_bytes};
use wcodec_tests::{Pattern, Random, TestTensor, safetensors_file};

/// Tensors of the checkpoint, and elements of each.
const TENSORS: usize = 12;
const ELEMENTS: u64 = 4 << 20;
/// The driver gives and takes memory in pieces of this size.
const GRAIN: usize = 2 << 20;

/// Writes to an address that no allocation has.
const FAULTY_KERNEL: &str = "
.version 7.0
.target sm_80
.address_size 64
.visible .entry fault() {
    .reg .b64 %rd<2>;
    .reg .b32 %r<2>;
    mov.u64 %rd1, 16;
    mov.u32 %r1, 1;
    st.global.u32 [%rd1], %r1;
    ret;
}
";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some("memory") => without_memory(),
        Some("lost") => lost(),
        _ => Err("say `memory` or `lost`".into()),
    };
    match result {
        Ok(()) => {
            println!("everything is dropped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("gpu_faults: {error}");
            ExitCode::FAILURE
        }
    }
}

fn checkpoint() -> Result<(Vec<TestTensor>, Checkpoint), Failure> {
    let random = &mut Random::new(7);
    let tensors: Vec<TestTensor> = (0..TENSORS)
        .map(|number| {
            TestTensor::new(number.to_string(), Dtype::BF16, &[ELEMENTS], Pattern::Gaussian, random)
        })
        .collect();
    let file = safetensors_file(&tensors)?;
    let (encoded, _) = encode_safetensors_bytes(&file, &EncodeOptions::default())?;
    Ok((tensors, Checkpoint::from_bytes(encoded)?))
}

/// Decodes all; the bytes have to be those of `tensors`.
fn decode(decoder: &Decoder, all: &Checkpoint, tensors: &[TestTensor]) -> Result<(), Failure> {
    for (decoded, expected) in decoder.decode_all(all)?.iter().zip(tensors) {
        if decoded.to_host()?.as_bytes() != expected.bytes {
            return Err(format!("tensor {} has other bytes", expected.name).into());
        }
    }
    Ok(())
}

fn without_memory() -> Result<(), Failure> {
    let decoder = Decoder::new(0)?;
    let (tensors, all) = checkpoint()?;
    decode(&decoder, &all, &tensors)?;
    let (free, _) = mem_get_info()?;
    let decoded = all.tensor_bytes() as usize;
    let mut refused = 0;
    for left in (0..=3 * decoded).step_by(decoded / 16) {
        let hog = take_all_but(left)?;
        let outcome = decoder.decode_all(&all);
        drop(hog);
        let what = match outcome {
            Ok(decoded) => {
                drop(decoded);
                "decoded".to_owned()
            }
            Err(error) if error.kind() == ErrorKind::Gpu => {
                refused += 1;
                error.to_string()
            }
            Err(error) => return Err(format!("another error: {error}").into()),
        };
        let (now, _) = mem_get_info()?;
        println!("{:>4} MiB left: {what}", left >> 20);
        // The first decode may have grown what the driver keeps for itself, and a later one given it back.
        if now < free {
            return Err(format!("{free} bytes were free before, {now} are after").into());
        }
        decode(&decoder, &all, &tensors)?;
    }
    if refused < 3 {
        return Err(format!("only {refused} decodes ran out of memory").into());
    }
    println!(
        "{refused} decodes ran out of memory; each left all memory free and a working context"
    );
    Ok(())
}

/// Allocates device memory until about `left` bytes are free.
fn take_all_but(left: usize) -> Result<Vec<DeviceBuffer<u8>>, Failure> {
    let mut taken = Vec::new();
    let mut size = mem_get_info()?.0.saturating_sub(left);
    while size >= GRAIN {
        // SAFETY: nobody reads it.
        match unsafe { DeviceBuffer::<u8>::uninitialized(size) } {
            Ok(buffer) => {
                taken.push(buffer);
                size = size.min(mem_get_info()?.0.saturating_sub(left));
            }
            Err(_) => size /= 2,
        }
    }
    Ok(taken)
}

fn lost() -> Result<(), Failure> {
    let decoder = Decoder::new(0)?;
    let (tensors, all) = checkpoint()?;
    decode(&decoder, &all, &tensors)?;
    let on_device = decoder.decode_all(&all)?;
    let module = Module::from_ptx(FAULTY_KERNEL, &[])?;
    let stream = Stream::new(StreamFlags::NON_BLOCKING, None)?;
    let function = module.get_function("fault")?;
    // SAFETY: it takes no arguments; that it faults is what it is for.
    unsafe { cust::launch!(function<<<1, 1, 0, stream>>>())? };
    let fault = stream.synchronize().err().ok_or("the kernel did not fault")?;
    println!("the context is lost: {fault}");
    let expect_error = |what: &str, outcome: wcodec::Result<()>| match outcome {
        Err(error) if error.kind() == ErrorKind::Gpu => {
            println!("{what}: {error}");
            Ok(())
        }
        Err(error) => Err(format!("{what}: another error: {error}")),
        Ok(()) => Err(format!("{what}: no error")),
    };
    expect_error("decoding", decoder.decode_all(&all).map(drop))?;
    expect_error("reading a tensor", on_device[0].to_host().map(drop))?;
    // They belong to the decoder's context.
    drop((stream, module));
    drop(on_device);
    println!("dropping the decoder");
    drop(decoder);
    // A new decoder may be had or not; what matters is that asking is no panic.
    match Decoder::new(0) {
        Ok(_) => println!("a new decoder: there is one"),
        Err(error) => println!("a new decoder: {error}"),
    }
    let auto = Decoder::auto();
    println!("what decodes now: {}", auto.describe());
    decode(&Decoder::cpu(), &all, &tensors)?;
    println!("a lost device gives errors; the CPU decodes the same file");
    Ok(())
}
