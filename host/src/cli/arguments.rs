//! Arguments, options and help.

use std::fmt::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wcodec::ErrorKind;

/// Store neural-network checkpoints (.safetensors) losslessly in less space.
///
/// What decodes is byte for byte what was encoded, or there is an error. A failed or interrupted
/// command leaves an existing output as it was.
#[derive(Debug, Parser)]
#[command(
    name = "wcodec",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = format!("{TRY_IT}\n{}", exit_statuses())
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) common: Common,
}

const TRY_IT: &str = "\
Examples:
  wcodec demo                               See what it does, with weights that are built in
  wcodec encode model.safetensors           Write model.safetensors.wcodec
  wcodec decode model.safetensors.wcodec    Write model.safetensors again
  wcodec encode my-model/                   Write the directory my-model-wcodec
";

/// Options that every subcommand has.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Threads to compute with; 0 takes one per processor
    #[arg(
        long, global = true, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=1024)
    )]
    pub(super) threads: u16,
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print neither results (but with --json) nor progress; errors are always printed
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// Replace an output that already exists, for a directory all that is in it
    #[arg(long, short, global = true)]
    pub(super) force: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Encode(Encode),
    Decode(Decode),
    Inspect(Inspect),
    Verify(Verify),
    /// List the GPUs of this machine, or say why there is none to decode on
    #[command(after_help = "\
JSON keys: command, devices (ordinal, name, compute_capability, memory_bytes, multiprocessors, clock_hz,
memory_bytes_per_second, driver, supported), reason. Both speeds are the most by the driver, 0 where it does
not say. Without a GPU, devices is empty and reason says why; the exit status is 0.
")]
    Gpu,
    Load(Load),
    Bench(Bench),
    /// Encode and decode a small checkpoint that is built in, and show the sizes
    ///
    /// Everything happens in a temporary directory that is removed afterwards. The checkpoint holds
    /// real weights in each common dtype.
    #[command(after_help = "\
JSON keys: command, original_bytes, encoded_bytes, ratio, sha256, encode_seconds, decode_seconds,
identical, dtypes.
")]
    Demo,
}

impl Command {
    /// Whether it works on the files of a directory.
    pub(super) fn is_for_directory(&self) -> bool {
        match self {
            Self::Encode(Encode { input, .. })
            | Self::Decode(Decode { input, .. })
            | Self::Verify(Verify { input, .. }) => input.is_dir(),
            Self::Inspect(_) | Self::Gpu | Self::Load(_) | Self::Bench(_) | Self::Demo => false,
        }
    }
}

/// Compress a .safetensors file, or a directory with such files
///
/// A directory is encoded as a whole: each NAME.safetensors becomes NAME.safetensors.wcodec, and
/// all other files (configuration, tokenizer, subdirectories) are copied. Symbolic links are
/// followed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wcodec encode model.safetensors
  wcodec encode model.safetensors -o /backup/model.wcodec
  wcodec encode my-model/ -o my-model-small/ --json
  wcodec encode tuned.safetensors --base model.safetensors

JSON keys for a file: command, input, output, original_bytes, encoded_bytes, ratio, sha256, seconds,
tensors, dtypes. For a directory: command, input, output, original_bytes, encoded_bytes, ratio,
seconds, checkpoints, copied, files. `sha256` is that of the original file; `copied` counts the
files that are no checkpoints.
")]
pub(super) struct Encode {
    /// The .safetensors file or model directory to compress
    pub(super) input: PathBuf,
    /// Where to write [default: INPUT.wcodec, for a directory INPUT-wcodec]
    #[arg(long, short)]
    pub(super) output: Option<PathBuf>,
    /// What to optimise for: speed, or the smallest file
    #[arg(long, value_enum, default_value_t)]
    pub(super) profile: ProfileChoice,
    /// Elements of a block, the unit of random access: a multiple of 1024 up to 131072
    /// [default: 65536, with --profile max 131072]
    #[arg(long, value_name = "N")]
    pub(super) block_elements: Option<usize>,
    /// Coder states per lane, 1 or 2: 2 decodes faster and takes slightly more space [default: 2,
    /// with --profile max 1]
    #[arg(long, value_name = "N")]
    pub(super) states_per_lane: Option<usize>,
    /// Don't compute the SHA-256 of the original: faster, and decoding compares tensors' checksums
    /// only
    #[arg(long)]
    pub(super) no_sha256: bool,
    /// Store the file against this .safetensors or .wcodec file, such as the model it was tuned from;
    /// decoding then needs the same file
    #[arg(long, value_name = "BASE")]
    pub(super) base: Option<PathBuf>,
}

/// Measure size and speed on this machine, with random weights or with your files
///
/// Everything is done in memory, several times, and every decoded byte is compared. Without files,
/// matrices of Gaussian weights from 256 x 256 to 4096 x 4096 are measured. Where there is a GPU,
/// its kernels are measured too. Decode times of large models are estimated from the last line in
/// BF16.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wcodec bench
  wcodec bench model.safetensors --threads 1

JSON keys: command, device, simd, threads, runs, results (name, original_bytes, encoded_bytes, ratio,
encode_seconds, decode_seconds with median, least and most, gpu_seconds or null, exact), estimates
(parameters, bytes, cpu_seconds, gpu_seconds or null).
")]
pub(super) struct Bench {
    /// .safetensors files to measure
    pub(super) files: Vec<PathBuf>,
    /// What the encoder optimises for: speed, or the smallest file
    #[arg(long, value_enum, default_value_t)]
    pub(super) profile: ProfileChoice,
    /// Times that each thing is done
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) runs: u16,
}

/// Write the original file or directory again
///
/// The output appears when all of it is written and its checksums are those of the original.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wcodec decode model.safetensors.wcodec
  wcodec decode /backup/model.wcodec -o model.safetensors
  wcodec decode my-model-wcodec/ -o my-model/
  wcodec decode model.safetensors.wcodec --device cuda:0
  wcodec decode tuned.safetensors.wcodec --base model.safetensors

JSON keys for a file: command, input, output, original_bytes, encoded_bytes, ratio, sha256, seconds,
tensors, device. For a directory: command, input, output, original_bytes, encoded_bytes, ratio,
seconds, checkpoints, copied, files. With --salvage: command, input, output, original_bytes,
lost_bytes, lost (tensor, start, end, reason), seconds.
")]
pub(super) struct Decode {
    /// The .wcodec file or encoded directory
    pub(super) input: PathBuf,
    /// Where to write [default: INPUT without .wcodec, for a directory without -wcodec]
    #[arg(long, short)]
    pub(super) output: Option<PathBuf>,
    /// What decodes: cpu, cuda:N, or auto (the first GPU, without one the CPU)
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(super) device: DeviceChoice,
    /// Of a damaged file, write all that is intact, with zeros for the rest, and list what is lost
    #[arg(long, conflicts_with_all = ["device", "no_sha256"])]
    pub(super) salvage: bool,
    /// Don't compare the SHA-256 of the original, which one thread computes: much faster with many; the
    /// checksums of chunks and tensors are compared all the same
    #[arg(long)]
    pub(super) no_sha256: bool,
    /// The file that it was encoded against with --base, whose SHA-256 is checked
    #[arg(long, value_name = "BASE")]
    pub(super) base: Option<PathBuf>,
}

/// List the tensors of a .wcodec file and how they are stored
///
/// Nothing is decoded, so this is quick whatever the file's size. A ratio is original bytes over
/// encoded bytes; the plan says how each byte plane of the elements is coded, the lowest first.
///
/// With --explain everything is decoded, to say for each byte plane how many bits an element takes
/// and how many it would by its order-0 entropy (with one table of its own for the whole tensor), and
/// what each tool of the encoder saves over that.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wcodec inspect model.safetensors.wcodec
  wcodec inspect model.safetensors.wcodec --json
  wcodec inspect model.safetensors.wcodec --explain

JSON keys: command, file, format_version, original_bytes, encoded_bytes, ratio, sha256, base_sha256,
tables, tensors (name, dtype, shape, original_bytes, encoded_bytes, ratio, copy_of, plans, tile_modes,
explanation), dtypes (dtype, tensors, original_bytes, encoded_bytes, ratio). A plan has the keys coding
and blocks, a tile mode the keys mode and sub_blocks. `base_sha256`, `copy_of` and without --explain
`explanation` are null where there is none; an explanation has the keys order0_bits, stored_bits,
other_bits and tools (tool, blocks, order0_bytes, stored_bytes, saved_bytes).
")]
pub(super) struct Inspect {
    /// The .wcodec file
    pub(super) file: PathBuf,
    /// Decode everything, and say what each tool of the encoder saves
    #[arg(long)]
    pub(super) explain: bool,
    /// The file that it was encoded against with --base, for --explain
    #[arg(long, value_name = "BASE", requires = "explain")]
    pub(super) base: Option<PathBuf>,
}

/// Check a .wcodec file or encoded directory for damage, writing nothing
///
/// Everything is decoded and every checksum compared, the SHA-256 of the original included unless
/// --no-sha256 is given.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wcodec verify model.safetensors.wcodec
  wcodec verify model.safetensors.wcodec --against model.safetensors
  wcodec verify my-model-wcodec/ --against my-model/

JSON keys for a file: command, input, against, original_bytes, encoded_bytes, ratio, sha256, seconds,
tensors, chunks, device. For a directory: command, input, against, original_bytes, encoded_bytes, ratio,
seconds, checkpoints, copied, files.
")]
pub(super) struct Verify {
    /// The .wcodec file or encoded directory
    pub(super) input: PathBuf,
    /// Compare with this original too, byte for byte; for a directory all files
    #[arg(long, value_name = "ORIGINAL")]
    pub(super) against: Option<PathBuf>,
    /// What decodes: cpu, cuda:N, or auto (the first GPU, without one the CPU)
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(super) device: DeviceChoice,
    /// Don't compare the SHA-256 of the original, which one thread computes: much faster with many; the
    /// checksums of chunks and tensors are compared all the same
    #[arg(long)]
    pub(super) no_sha256: bool,
    /// The file that it was encoded against with --base, whose SHA-256 is checked
    #[arg(long, value_name = "BASE")]
    pub(super) base: Option<PathBuf>,
}

/// Load a .wcodec file into device memory, and say how long that takes
///
/// Nothing is written: this measures what the library's `Checkpoint::load` does for a program. The
/// stages overlap; the longest is what limits the load.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wcodec load model.safetensors.wcodec --device cuda:0 --repeat 5
  wcodec load model.safetensors.wcodec --device cpu --tensors 'model.layers.0.*'
  wcodec load model.safetensors.wcodec --device cuda:0 --shard 0/2 --along '*_proj.weight=0'

JSON keys: command, file, device, device_seconds, runs (seconds, open_seconds, file_bytes, tensor_bytes,
tensors, threads, pinned_bytes, device_bytes, checksums, stages with allocate_seconds, setup_seconds,
read_seconds, checksum_seconds, copy_wait_seconds, describe_seconds, queue_seconds,
decode_wait_seconds and decode_seconds, null on the CPU), compared, host_peak_bytes. With --resident: command, file, device, device_seconds, open_seconds, seconds,
compressed_bytes, device_bytes, tensor_bytes, host_peak_bytes.
")]
pub(super) struct Load {
    /// The .wcodec file
    pub(super) file: PathBuf,
    /// Where to load it: cpu, cuda:N, or auto (the first GPU, without one the CPU)
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(super) device: DeviceChoice,
    /// Load it so many times, each time from the start: the first one also allocates pinned memory
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) repeat: u16,
    /// Only tensors with this name, or names like this pattern; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(super) tensors: Vec<String>,
    /// Only the part of each tensor that the device with this number, of so many, takes
    #[arg(long, value_name = "RANK/COUNT", requires = "along")]
    pub(super) shard: Option<ShardChoice>,
    /// The dimension along which tensors with names like the pattern are cut, 0 being the slowest; the
    /// first that fits counts, and tensors that none fits are loaded whole
    #[arg(long, value_name = "PATTERN=DIMENSION", requires = "shard")]
    pub(super) along: Vec<AlongChoice>,
    /// MiB of pinned memory to take at most
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(super) pinned_mib: usize,
    /// Don't compare checksums
    #[arg(long)]
    pub(super) no_checksums: bool,
    /// Read around the page cache
    #[arg(long)]
    pub(super) direct: bool,
    /// Before each load, let the system forget what it has read of the file
    #[arg(long)]
    pub(super) cold: bool,
    /// Compare what was loaded with what the CPU decodes, byte for byte
    #[arg(long)]
    pub(super) compare: bool,
    /// Keep the tensors compressed in device memory
    #[arg(long, conflicts_with_all = ["repeat", "shard", "compare"])]
    pub(super) resident: bool,
    /// The file that it was encoded against with --base, whose SHA-256 is checked
    #[arg(long, value_name = "BASE")]
    pub(super) base: Option<PathBuf>,
}

/// One of several shards, such as 0/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardChoice {
    pub(super) rank: usize,
    pub(super) count: usize,
}

impl FromStr for ShardChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('/').and_then(|(rank, count)| {
            Some(Self { rank: rank.parse().ok()?, count: count.parse().ok()? })
        });
        let numbers = numbers.filter(|shard| shard.rank < shard.count);
        numbers.ok_or_else(|| "say 0/2 for the first of two".into())
    }
}

/// Tensors and the dimension that they are cut along, such as `*.weight=0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AlongChoice {
    pub(super) pattern: String,
    pub(super) dimension: usize,
}

impl FromStr for AlongChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once('=').and_then(|(pattern, dimension)| {
            Some(Self { pattern: pattern.to_owned(), dimension: dimension.parse().ok()? })
        });
        parts.ok_or_else(|| "say '*.weight=0' for the slowest dimension of all weights".into())
    }
}

/// The encoder's profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum ProfileChoice {
    /// Encodes and decodes fast
    #[default]
    Fast,
    /// Takes longer for a smaller file
    Max,
}

impl From<ProfileChoice> for wcodec::Profile {
    fn from(choice: ProfileChoice) -> Self {
        match choice {
            ProfileChoice::Fast => Self::Fast,
            ProfileChoice::Max => Self::Max,
        }
    }
}

/// What decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceChoice {
    Cpu,
    Cuda(u32),
    Auto,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(ordinal)) => Ok(Self::Cuda(ordinal)),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "auto" => Ok(Self::Auto),
            _ => Err("name cpu, auto, or cuda:0 for the first GPU".into()),
        }
    }
}

/// What a script can tell from the exit status.
const MEANINGS: [(ErrorKind, &str); 13] = [
    (ErrorKind::Internal, "a bug in wcodec, found by one of its own checks"),
    (ErrorKind::Io, "a file cannot be read or written"),
    (ErrorKind::NoSpace, "the disk or the quota is full"),
    (ErrorKind::TargetExists, "the output exists and --force was not given"),
    (ErrorKind::Truncated, "the input is incomplete"),
    (ErrorKind::Corrupt, "the input is damaged"),
    (ErrorKind::Unsupported, "the input needs a newer wcodec"),
    (ErrorKind::InvalidInput, "the input or an argument cannot be used"),
    (ErrorKind::NotFound, "a tensor is not there"),
    (ErrorKind::Mismatch, "a comparison found a difference"),
    (ErrorKind::Gpu, "the GPU failed"),
    (ErrorKind::Incomplete, "a damaged file was salvaged, and something is missing"),
    (ErrorKind::Interrupted, "interrupted by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP"),
];

fn exit_statuses() -> String {
    let mut lines: Vec<(u8, &str)> =
        MEANINGS.iter().map(|&(kind, meaning)| (kind.exit_code(), meaning)).collect();
    lines.extend([(0, "success"), (2, "the command line is not understood")]);
    lines.sort_unstable();
    lines.iter().fold(String::from("Exit status:\n"), |mut text, (code, meaning)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {code:>3}  {meaning}");
        text
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_lists_each_exit_status_once() {
        let help = Arguments::command().render_help().to_string();
        let (_, statuses) = help.split_once("Exit status:\n").unwrap();
        let codes: Vec<u8> = statuses
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(|code| code.parse().unwrap())
            .collect();
        assert_eq!(codes, (0..=13).chain([130]).collect::<Vec<u8>>());
    }
}
