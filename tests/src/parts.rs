//! `.wcodec` files taken apart and put together after `docs/FORMAT.md`, without any help of the
//! library: for files whose checksums are right and whose content is not.

use twox_hash::XxHash3_64;

const FOOTER_BYTES: usize = 64;
/// Sections are aligned to this, halved as often as byte 12 of the header says.
const LARGEST_ALIGNMENT: usize = 4096;

/// A `.wcodec` file taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The blocks of all tensors.
    pub payload: Vec<u8>,
    /// The index: the number of its checksums, these, and the records, inflated.
    pub index: Vec<u8>,
}

/// Where the records of an index begin; its end where there are fewer checksums than it says.
fn records_at(index: &[u8]) -> usize {
    let count = index.first_chunk().map_or(u64::MAX, |count| u64::from_le_bytes(*count));
    usize::try_from(count.saturating_add(1).saturating_mul(8))
        .unwrap_or(usize::MAX)
        .min(index.len())
}

impl Parts {
    /// The parts of a good file; of another one, this may panic.
    pub fn of(file: &[u8]) -> Self {
        let footer = &file[file.len() - FOOTER_BYTES..];
        let field = |number: usize| {
            let bytes = footer[8 * number..][..8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes) as usize
        };
        let stored = &file[field(1)..][..field(2)];
        let index = if field(2) == field(3) {
            stored.to_vec()
        } else {
            let (checksums, records) = stored.split_at(records_at(stored));
            let records = miniz_oxide::inflate::decompress_to_vec_zlib(records);
            [checksums, &records.expect("a good file")].concat()
        };
        let payload_start = LARGEST_ALIGNMENT >> file[12];
        Self { payload: file[payload_start..][..field(0)].to_vec(), index }
    }

    /// A file of these parts, with the index as it is and every checksum outside of it right.
    pub fn file(&self) -> Vec<u8> {
        self.aligned_file(LARGEST_ALIGNMENT)
    }

    /// The same with sections aligned to `alignment`, a power of two from 64 to 4096.
    pub fn aligned_file(&self, alignment: usize) -> Vec<u8> {
        self.stored_file(alignment, &self.index)
    }

    /// The same with the index deflated.
    pub fn deflated_file(&self) -> Vec<u8> {
        let (checksums, records) = self.index.split_at(records_at(&self.index));
        let records = miniz_oxide::deflate::compress_to_vec_zlib(records, 9);
        self.stored_file(LARGEST_ALIGNMENT, &[checksums, &records].concat())
    }

    fn stored_file(&self, alignment: usize, stored: &[u8]) -> Vec<u8> {
        let mut file = b"\x89WCODEC\n\x01\0\0\0".to_vec();
        file.push((LARGEST_ALIGNMENT / alignment).ilog2() as u8);
        file.resize(alignment, 0);
        file.extend_from_slice(&self.payload);
        file.resize(file.len().next_multiple_of(alignment), 0);
        let mut footer: Vec<u8> = [
            self.payload.len() as u64,
            file.len() as u64,
            stored.len() as u64,
            self.index.len() as u64,
            XxHash3_64::oneshot(stored),
            1,
        ]
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect();
        footer.extend(XxHash3_64::oneshot(&footer).to_le_bytes());
        footer.extend_from_slice(b"WCODECix");
        file.extend_from_slice(stored);
        file.extend_from_slice(&footer);
        file
    }

    /// Writes `new` where the index holds `old`; whether that is there exactly once.
    pub fn replace_in_index(&mut self, old: u64, new: u64) -> bool {
        let places: Vec<usize> = (0..self.index.len().saturating_sub(7))
            .filter(|&at| self.index[at..at + 8] == old.to_le_bytes())
            .collect();
        if let [at] = places[..] {
            self.index[at..at + 8].copy_from_slice(&new.to_le_bytes());
        }
        places.len() == 1
    }
}
