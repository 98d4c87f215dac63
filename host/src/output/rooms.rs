//! Memory that pieces of a file are made in.

use crate::spares::Spares;

/// Memory in pieces of one size, so that whoever takes one need not make it larger. What is never written to
/// takes none.
pub(crate) struct Rooms {
    bytes: usize,
    spares: Spares<Vec<u8>>,
}

impl Rooms {
    /// Each is of so many bytes.
    pub(crate) fn of(bytes: usize) -> Self {
        Self { bytes, spares: Spares::default() }
    }

    /// Memory whose contents are of no account.
    pub(crate) fn take(&self) -> Vec<u8> {
        let room = self.spares.take();
        if room.is_empty() { vec![0; self.bytes] } else { room }
    }

    /// Keeps `memory` for others, if it is enough for them.
    pub(crate) fn give_back(&self, memory: Vec<u8>) {
        if memory.len() >= self.bytes.max(1) {
            self.spares.give_back(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again_if_it_is_enough() {
        let rooms = Rooms::of(10);
        let mut room = rooms.take();
        assert_eq!(room, [0; 10]);
        room[0] = 1;
        rooms.give_back(room);
        rooms.give_back(vec![2; 9]);
        assert_eq!(rooms.take()[0], 1);
        assert_eq!(rooms.take(), [0; 10]);
    }
}
