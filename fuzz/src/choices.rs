//! The fuzzer's bytes as a sequence of choices; zeros once they are used up.

/// What is left of the fuzzer's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    /// Whether all bytes are used up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        let number = if limit <= 256 {
            usize::from(self.byte())
        } else {
            u32::from_le_bytes(self.bytes()) as usize
        };
        number % limit
    }

    /// Eight bytes as a number.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// Up to `most` bytes.
    pub fn slice(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.slice(N);
        std::array::from_fn(|at| taken.get(at).copied().unwrap_or(0))
    }

    /// Changes `bytes` as the choices say: flips, numbers, cuts, insertions, repetitions.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const MOST_CHANGES: usize = 8;
        for _ in 0..MOST_CHANGES {
            if self.is_empty() || bytes.is_empty() {
                return;
            }
            let kind = self.below(8);
            let at = self.below(bytes.len());
            match kind {
                0 | 1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes[at] = self.byte(),
                3 => {
                    let number = self.number().to_le_bytes();
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].copy_from_slice(&number[..end - at]);
                }
                4 => {
                    let number = [u64::MAX, 1 << 63, 1 << 32, 1 << 20, 0][self.below(5)];
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
                }
                5 => {
                    let end = (at + 1 + self.below(64)).min(bytes.len());
                    bytes.drain(at..end);
                }
                6 => {
                    let count = self.below(16);
                    let inserted = self.slice(count).to_vec();
                    bytes.splice(at..at, inserted);
                }
                _ => bytes.truncate(at),
            }
        }
    }
}
