//! Writes computed tensors (position tables, filter banks) as `.safetensors` files of one tensor each
//! to a folder, and prints what each takes, encoded with both profiles.

use std::path::PathBuf;

use wcodec::{Checkpoint, EncodeOptions, Profile, encode_safetensors_bytes};
use wcodec_tests::{SmoothTable, TestTensor, safetensors_file};

fn tensors() -> Vec<TestTensor> {
    let tables = [
        SmoothTable::sinusoidal_positions(512, 384),
        SmoothTable::sinusoidal_positions(2048, 512),
        SmoothTable::rotary_cosines(4096, 128),
        SmoothTable::rotary_sines(4096, 128),
        SmoothTable::gabor_bank(96, 16),
        SmoothTable::gabor_bank(1024, 16),
        SmoothTable::gabor_bank(288, 11),
    ];
    tables.iter().flat_map(|table| [table.as_i8(), table.as_f16(), table.as_f32()]).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: smooth_tensors FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    println!("{:44} {:>9} {:>9} {:>9}  plan", "tensor", "bytes", "fast", "max");
    for tensor in tensors() {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        let name = format!("{}-{}", tensor.name, shape.join("x"));
        let file = safetensors_file(std::slice::from_ref(&tensor))?;
        std::fs::write(folder.join(format!("{name}.safetensors")), &file)?;
        let mut sizes = Vec::new();
        let mut plans = String::new();
        for profile in [Profile::Fast, Profile::Max] {
            let options = EncodeOptions { section_alignment: 64, ..EncodeOptions::of(profile) };
            let (encoded, _) = encode_safetensors_bytes(&file, &options)?;
            sizes.push(encoded.len());
            let checkpoint = Checkpoint::from_bytes(encoded)?;
            assert!(checkpoint.restore_bytes()? == file, "{name} does not come back");
            let tensor = checkpoint.tensors().next().ok_or("no tensor")?;
            plans = tensor.plans().into_iter().map(|(_, plan)| plan).collect::<Vec<_>>().join("; ");
        }
        println!("{name:44} {:>9} {:>9} {:>9}  {plans}", tensor.bytes.len(), sizes[0], sizes[1]);
    }
    Ok(())
}
