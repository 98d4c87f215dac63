//! Kernel times on one GPU of wcodec and of NVIDIA's nvCOMP, on the same data in the same process.
//!
//! Every result is compared with the original bytes before its line is printed; where they differ,
//! the line says so, and the exit status is 1. Times are those between CUDA events around the
//! launches, which have been queued before the first event happens; speeds are in GB/s of decoded bytes.

mod nvcomp;
mod table;
mod weights;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use clap::Parser;
use wcodec::gpu::{Decoder, DeviceInfo};
use wcodec::safetensors::{Dtype, Header, TensorData, TensorEntry, build, parse};
use wcodec::{Base, Checkpoint, EncodeOptions, Profile, encode_safetensors_bytes};

use nvcomp::Nvcomp;
use table::{Line, RUNS, WARM_UPS, verdict};
use weights::{WeightType, gaussian};

/// The most Mi elements of a setting.
const MAX_MEBI_ELEMENTS: usize = 1 << 14;

type Failure = Box<dyn Error>;

/// Measures how fast the GPU decodes Gaussian weights and files, as wcodec and as nvCOMP has them.
#[derive(Debug, Parser)]
struct Arguments {
    /// Path of nvCOMP's library, libnvcomp.so.6, to measure on the same weights; a file's as one run of
    /// what most of its bytes are
    #[arg(long, value_name = "LIBRARY")]
    nvcomp: Option<PathBuf>,
    /// What to encode for: fast, or max (planes by class, heads, tiles by exact sizes)
    #[arg(long, default_value = "fast", value_parser = profile_named)]
    profile: Profile,
    /// What part of the bits two elements per symbol may cost more than one; by default the profile's
    #[arg(long, value_name = "PART")]
    pair_tolerance: Option<f64>,
    /// Measure every setting once more with this tolerance; verdicts take the best of both
    #[arg(long, value_name = "PART", conflicts_with = "pair_tolerance")]
    also_pair_tolerance: Option<f64>,
    /// Encode files against this .safetensors file
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// DTYPE:MEBI_ELEMENTS:BLOCK_KIBI_ELEMENTS:STATES, as in BF16:256:16:2 (dtypes: BF16, F16, F32,
    /// I8, INT4, F8_E4M3), or FILE:BLOCK_KIBI_ELEMENTS:STATES with a .safetensors file
    #[arg(required = true, value_name = "SETTING")]
    settings: Vec<Setting>,
}

fn profile_named(name: &str) -> Result<Profile, String> {
    match name {
        "fast" => Ok(Profile::Fast),
        "max" => Ok(Profile::Max),
        _ => Err("the profiles are fast and max".into()),
    }
}

/// What is measured, and how it is encoded.
#[derive(Debug, Clone)]
struct Setting {
    text: String,
    source: Source,
    block_elements: usize,
    states_per_lane: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Weights { weights: WeightType, mebi: usize },
    File(PathBuf),
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |what: &str, word: &str| {
            word.parse::<usize>().map_err(|error| format!("{word:?} as its {what}: {error}"))
        };
        let mut words = text.rsplitn(3, ':');
        let (Some(states), Some(block), Some(source)) = (words.next(), words.next(), words.next())
        else {
            return Err("it has fewer than three parts".into());
        };
        let source = match source.split_once(':') {
            None => Source::File(source.into()),
            Some((weights, mebi)) => Source::Weights {
                weights: weights.parse()?,
                mebi: number("Mi elements", mebi).and_then(|mebi| match mebi {
                    1..=MAX_MEBI_ELEMENTS => Ok(mebi),
                    _ => Err(format!("{mebi} Mi elements are not from 1 to {MAX_MEBI_ELEMENTS}")),
                })?,
            },
        };
        Ok(Self {
            text: text.to_owned(),
            source,
            block_elements: number("Ki elements of a block", block)?.saturating_mul(1 << 10),
            states_per_lane: number("states per lane", states)?,
        })
    }
}

/// A `.safetensors` file in memory.
struct Original {
    file: Vec<u8>,
    data_start: usize,
    /// What most of its bytes are.
    weights: WeightType,
}

impl Original {
    fn load(source: &Source) -> Result<Self, Failure> {
        let (file, path) = match source {
            Source::File(path) => {
                let file = std::fs::read(path);
                (file.map_err(|error| format!("{}: {error}", path.display()))?, path.as_path())
            }
            Source::Weights { weights, mebi } => {
                let bytes = gaussian(*weights, mebi << 20);
                let dtype = weights.dtype();
                let width = dtype.bits().unwrap_or(8) as usize / 8;
                let shape = [(bytes.len() / width) as u64];
                let tensor = TensorData { name: "weights", dtype, shape: &shape, bytes: &bytes };
                (build(&[tensor], &[])?, Path::new("the weights"))
            }
        };
        let header = parse(&file, path)?;
        let (data_start, weights) = (header.data_start as usize, most_common(&header));
        Ok(Self { file, data_start, weights })
    }

    /// The tensors' bytes.
    fn data(&self) -> &[u8] {
        &self.file[self.data_start..]
    }
}

/// What most bytes of a file's tensors are.
fn most_common(header: &Header) -> WeightType {
    let mut bytes_of: Vec<(&Dtype, u64)> = Vec::new();
    for TensorEntry { dtype, start, end, .. } in &header.tensors {
        match bytes_of.iter_mut().find(|(known, _)| *known == dtype) {
            Some((_, total)) => *total += end - start,
            None => bytes_of.push((dtype, end - start)),
        }
    }
    let most = bytes_of.iter().max_by_key(|(_, total)| *total);
    most.map_or(WeightType::Int4, |(dtype, _)| WeightType::of(dtype))
}

/// The lines of one source.
struct Comparison {
    name: String,
    wcodec: Vec<Line>,
    nvcomp: Vec<Line>,
}

/// What has been measured.
#[derive(Default)]
struct Report {
    comparisons: Vec<Comparison>,
    failures: usize,
}

impl Report {
    /// Prints a result, and adds it to `lines` unless it is a failure.
    fn add(&mut self, what: &str, result: Result<Line, Failure>, lines: &mut Vec<Line>) {
        match result {
            Ok(line) => {
                println!("{line}");
                lines.push(line);
            }
            Err(error) => {
                println!("{what:<42} ERROR: {error}");
                self.failures += 1;
            }
        }
    }

    fn print_verdicts(&self) {
        for Comparison { name, wcodec, nvcomp } in &self.comparisons {
            if !nvcomp.is_empty() {
                println!("\n{name}: is some wcodec line at least as small and as fast?");
            }
            for line in nvcomp {
                println!("{:<42} {}", line.what, verdict(line, wcodec));
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("gpu_compare: {failures} of the lines are errors");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("gpu_compare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What all settings are encoded with, beside what each says.
struct Encoding {
    profile: Profile,
    pair_tolerance: Option<f64>,
    base: Option<Arc<Base>>,
}

impl Encoding {
    fn options(&self, setting: &Setting) -> EncodeOptions {
        let is_file = matches!(setting.source, Source::File(_));
        let usual = EncodeOptions::of(self.profile);
        EncodeOptions {
            pair_tolerance: self.pair_tolerance.unwrap_or(usual.pair_tolerance),
            block_elements: setting.block_elements,
            states_per_lane: setting.states_per_lane,
            base: self.base.clone().filter(|_| is_file),
            ..usual
        }
    }

    /// A setting's name in the table: of a file its name alone, and what is out of the ordinary.
    fn name(&self, setting: &Setting) -> String {
        let name = setting.text.rsplit('/').next().unwrap_or(&setting.text);
        let against = if self.options(setting).base.is_some() { " base" } else { "" };
        let profile = if self.profile == Profile::Max { " max" } else { "" };
        let pairs = if self.pair_tolerance.is_some() { " pairs" } else { "" };
        format!("{name}{profile}{pairs}{against}")
    }
}

/// The number of lines that are errors.
fn run(arguments: &Arguments) -> Result<usize, Failure> {
    let decoder = Decoder::new(0)?;
    let device = decoder.device().ok_or("the decoder is not on a GPU")?;
    let open = |path: &PathBuf| Nvcomp::open(path, device.ordinal);
    let nvcomp = arguments.nvcomp.as_ref().map(open).transpose()?;
    let base = arguments.base.as_ref().map(Base::open).transpose()?.map(Arc::new);
    let Arguments { profile, pair_tolerance, also_pair_tolerance, .. } = *arguments;
    let encoding = |pair_tolerance| Encoding { profile, pair_tolerance, base: base.clone() };
    let also = also_pair_tolerance.map(|tolerance| encoding(Some(tolerance)));
    let encodings: Vec<Encoding> =
        [Some(encoding(pair_tolerance)), also].into_iter().flatten().collect();
    print_heading(device, nvcomp.as_ref())?;
    let mut report = Report::default();
    for (source, settings) in by_source(&arguments.settings) {
        measure_source((&decoder, nvcomp.as_ref()), &encodings, source, &settings, &mut report)?;
    }
    report.print_verdicts();
    Ok(report.failures)
}

fn print_heading(device: &DeviceInfo, nvcomp: Option<&Nvcomp>) -> Result<(), Failure> {
    let DeviceInfo { name, multiprocessors, driver: (major, minor), .. } = device;
    println!("GPU     {name}, {multiprocessors} multiprocessors, driver for CUDA {major}.{minor}");
    println!("wcodec  {}", env!("CARGO_PKG_VERSION"));
    let version = nvcomp.map(Nvcomp::version).transpose()?;
    println!("nvCOMP  {}", version.as_deref().unwrap_or("not measured"));
    println!("runs    {WARM_UPS} untimed, {RUNS} timed; GB/s of decoded bytes\n");
    println!("{}", Line::heading());
    Ok(())
}

/// The settings of each source, sources in the order in which they first appear.
fn by_source(settings: &[Setting]) -> Vec<(&Source, Vec<&Setting>)> {
    let mut sources: Vec<(&Source, Vec<&Setting>)> = Vec::new();
    for setting in settings {
        match sources.iter_mut().find(|(source, _)| *source == &setting.source) {
            Some((_, settings)) => settings.push(setting),
            None => sources.push((&setting.source, vec![setting])),
        }
    }
    sources
}

fn measure_source(
    (decoder, nvcomp): (&Decoder, Option<&Nvcomp>),
    encodings: &[Encoding],
    source: &Source,
    settings: &[&Setting],
    report: &mut Report,
) -> Result<(), Failure> {
    let original = Original::load(source)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for setting in settings {
        for encoding in encodings {
            let what = encoding.name(setting);
            let line = measure(decoder, &original, &what, &encoding.options(setting));
            report.add(&what, line, &mut ours);
        }
    }
    let name = match source {
        Source::Weights { weights, mebi } => format!("{weights}:{mebi}"),
        Source::File(path) => path.file_name().unwrap_or_default().display().to_string(),
    };
    if let Some(nvcomp) = nvcomp {
        // All tensors' bytes as one run of the type that most of them have.
        nvcomp.measure(&name, original.weights, original.data(), |what, result| {
            report.add(what, result, &mut theirs);
        });
    }
    report.comparisons.push(Comparison { name, wcodec: ours, nvcomp: theirs });
    Ok(())
}

/// Encodes `original` and times its decoding, which compares the bytes.
fn measure(
    decoder: &Decoder,
    original: &Original,
    what: &str,
    options: &EncodeOptions,
) -> Result<Line, Failure> {
    let (encoded, _) = encode_safetensors_bytes(&original.file, options)?;
    let mut checkpoint = Checkpoint::from_bytes(encoded)?;
    if let Some(base) = &options.base {
        checkpoint = checkpoint.with_base(Arc::clone(base))?;
    }
    let times = decoder.time_kernels(&checkpoint, original.data(), WARM_UPS + RUNS)?;
    Ok(Line::new(
        what.to_owned(),
        times.payload_bytes,
        times.decoded_bytes,
        &times.milliseconds[WARM_UPS..],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_weights_or_a_file() {
        let setting: Setting = "F8_E4M3:256:16:2".parse().unwrap();
        let weights = WeightType::F8E4M3;
        assert_eq!(setting.source, Source::Weights { weights, mebi: 256 });
        assert_eq!((setting.block_elements, setting.states_per_lane), (16384, 2));
        let setting: Setting = "a/b.safetensors:8:1".parse().unwrap();
        assert_eq!(setting.source, Source::File("a/b.safetensors".into()));
        assert_eq!((setting.block_elements, setting.states_per_lane), (8192, 1));
    }

    #[test]
    fn other_settings_are_refused_with_a_reason() {
        let refused = |text: &str, reason: &str| {
            let error = text.parse::<Setting>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        };
        refused("BF16:256", "fewer than three parts");
        refused("BF17:256:16:2", "F8_E4M3");
        refused("BF16:0:16:2", "from 1 to");
        refused("BF16:x:16:2", "\"x\" as its Mi elements");
        refused("file:x:2", "\"x\" as its Ki elements of a block");
        refused("file:16:", "states per lane");
    }

    #[test]
    fn lines_say_what_is_out_of_the_ordinary() {
        let name = |profile: Profile, text: &str| {
            Encoding { profile, pair_tolerance: None, base: None }.name(&text.parse().unwrap())
        };
        assert_eq!(name(Profile::Fast, "a/b.safetensors:8:1"), "b.safetensors:8:1");
        assert_eq!(name(Profile::Max, "I8:256:16:1"), "I8:256:16:1 max");
        assert_eq!(profile_named("max"), Ok(Profile::Max));
        assert!(profile_named("best").is_err());
    }

    #[test]
    fn settings_of_one_source_are_measured_together() {
        let texts = ["I8:1:16:1", "BF16:1:16:1", "I8:1:16:2", "I8:2:16:1"];
        let settings = texts.map(|text| text.parse::<Setting>().unwrap());
        let grouped: Vec<Vec<&str>> = by_source(&settings)
            .into_iter()
            .map(|(_, settings)| settings.iter().map(|setting| &*setting.text).collect())
            .collect();
        assert_eq!(grouped, [vec![texts[0], texts[2]], vec![texts[1]], vec![texts[3]]]);
    }

    #[test]
    fn a_file_is_what_most_of_its_bytes_are() {
        let tensor = |name, dtype, shape, bytes| TensorData { name, dtype, shape, bytes };
        let zeros = [0; 16];
        let of = |tensors: &[TensorData<'_>]| {
            most_common(&parse(&build(tensors, &[]).unwrap(), Path::new("file")).unwrap())
        };
        let one = tensor("a", Dtype::F32, &[3], &zeros[..12]);
        let two = [("b", 8), ("c", 8)]
            .map(|(name, bytes)| tensor(name, Dtype::I8, &[8][..], &zeros[..bytes]));
        let [b, c] = two;
        assert_eq!(of(&[one, b, c]), WeightType::I8);
        assert_eq!(of(&[tensor("d", Dtype::I64, &[2], &zeros)]), WeightType::Int4);
        assert_eq!(of(&[]), WeightType::Int4);
    }

    #[test]
    fn originals_hold_the_weights_as_one_tensor() {
        let source = Source::Weights { weights: WeightType::Int4, mebi: 1 };
        let original = Original::load(&source).unwrap();
        assert!(original.data() == gaussian(WeightType::Int4, 1 << 20));
        assert_eq!(original.data().len(), 1 << 19);
        assert_eq!(original.weights, WeightType::Int4);
        let missing = Original::load(&Source::File("/nonexistent".into())).err().unwrap();
        assert!(missing.to_string().contains("/nonexistent"), "{missing}");
    }
}
