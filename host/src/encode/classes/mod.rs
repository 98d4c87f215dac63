//! Tables by class: the rows and columns of a matrix fall into classes of like scale, and each pair
//! of classes takes the table that suits it.
//!
//! Classes and tables are found together, for all tensors of a kind at once, by Lloyd's algorithm
//! (S. P. Lloyd, "Least squares quantization in PCM", 1957) with coding cost as the distance, as
//! in co-clustering (Dhillon, Mallela, Modha, "Information-theoretic co-clustering", 2003): tables
//! are made of what they code, rows and columns move to the class that codes them in the fewest
//! bits. [`subject`] is a tensor as such a matrix, [`spread`] a first look at it, [`shared`] the tables of a kind, [`sample`] the
//! classes of one tensor's sample, [`whole`] those of all its rows.

mod costs;
mod exact;
mod sample;
mod shared;
mod spread;
mod subject;
mod whole;

use std::collections::BTreeMap;

use codec::split::Width;
use rayon::prelude::*;

pub(crate) use self::exact::ExactRows;
use self::sample::Sample;
use self::shared::SharedTables;
use self::subject::Subject;
pub(crate) use self::subject::SymbolKind;
use super::profile::Profile;
use super::tables::TablePool;
use crate::format::ClassesRecord;
use crate::safetensors::{Header, TensorEntry};

/// Bytes of all samples together, which bound the memory that finding classes takes.
const SAMPLE_BYTES: usize = 64 << 20;

/// Which tensors get classes, and how closely those are looked for.
#[derive(Debug, Clone, Copy)]
struct Search {
    /// Elements of a tensor's sample at most.
    sample_elements: usize,
    /// Part of a tensor's bits that classes must save to be worth their slower decoding.
    least_gain: f64,
    /// Whether only such tensors are looked at whose elements are a symbol each without classes too,
    /// and whose rows and columns differ at a first look: those that classes do not slow down much,
    /// and make a good deal smaller.
    only_promising: bool,
}

impl Search {
    const fn of(profile: Profile) -> Self {
        match profile {
            Profile::Fast => {
                Self { sample_elements: 1 << 16, least_gain: 1.0 / 32.0, only_promising: true }
            }
            Profile::Max => {
                Self { sample_elements: 1 << 20, least_gain: 1.0 / 512.0, only_promising: false }
            }
        }
    }

    fn takes(&self, subject: &Subject<'_>) -> bool {
        !self.only_promising
            || subject.layout.width == Width::One && spread::gain(subject) >= self.least_gain
    }
}

/// The classes of a tensor, their tables in the file's pool.
pub(crate) struct TensorClasses {
    /// What is coded by class.
    pub(crate) symbols: SymbolKind,
    pub(crate) record: ClassesRecord,
    /// Rows of F32 numbers that are exactly numbers of a smaller type.
    pub(crate) exact: Option<ExactRows>,
}

impl TensorClasses {
    /// All records, in the order in which planes name them.
    pub(crate) fn records(&self) -> impl Iterator<Item = &ClassesRecord> {
        std::iter::once(&self.record).chain(self.exact.iter().flat_map(|exact| &exact.records))
    }
}

/// The classes of each tensor of a file that gains by them and is not `excluded`. New tables go to
/// `pool`.
pub(crate) fn find_classes(
    file: &[u8],
    header: &Header,
    profile: Profile,
    excluded: impl Fn(usize) -> bool + Sync,
    pool: &mut TablePool,
) -> Vec<Option<TensorClasses>> {
    let search = Search::of(profile);
    let promising = |(tensor, entry): (usize, &TensorEntry)| {
        if excluded(tensor) {
            return None;
        }
        let subject = Subject::new(tensor, entry, entry.bytes(file).unwrap_or_default())?;
        search.takes(&subject).then(|| (subject.kind(entry), subject))
    };
    let promising: Vec<(String, Subject<'_>)> =
        header.tensors.par_iter().enumerate().filter_map(promising).collect();
    let mut subjects: BTreeMap<String, Vec<Subject<'_>>> = BTreeMap::new();
    for (kind, subject) in promising {
        subjects.entry(kind).or_default().push(subject);
    }
    let count: usize = subjects.values().map(Vec::len).sum();
    let elements = search.sample_elements.min(SAMPLE_BYTES / count.max(1));
    let mut found: Vec<Option<TensorClasses>> = header.tensors.iter().map(|_| None).collect();
    for subjects in subjects.into_values() {
        let mut samples: Vec<Sample<'_>> =
            subjects.into_par_iter().map(|subject| Sample::new(subject, elements)).collect();
        let shared = SharedTables::fit(&mut samples);
        let assigned: Vec<_> =
            samples.into_par_iter().map(|sample| whole::classify(sample, &shared)).collect();
        for (tensor, classes) in whole::choose(assigned, &shared, search.least_gain, pool) {
            found[tensor] = Some(classes);
        }
    }
    found
}
