//! A list that grows and shrinks by pieces, and never moves what is in it: a million things take the room that they need and no more, and
//! nobody waits while they are copied to a larger place.

use std::ops::{Index, IndexMut};

/// In a piece.
const PIECE: usize = 256;

pub(super) struct Chunks<V> {
    /// All but the last are full.
    pieces: Vec<Vec<V>>,
}

impl<V> Chunks<V> {
    pub(super) const fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    pub(super) fn get(&self, at: usize) -> Option<&V> {
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    pub(super) fn push(&mut self, value: V) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => last.push(value),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(value);
                self.pieces.push(piece);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<V> {
        let last = self.pieces.last_mut()?;
        let value = last.pop();
        // One is kept, for who goes to and fro.
        if last.is_empty() && self.pieces.len() > 1 {
            self.pieces.pop();
        }
        value
    }

    /// Bytes that are allocated.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.pieces.len() * PIECE * size_of::<V>() + self.pieces.capacity() * size_of::<Vec<V>>()
    }
}

impl<V> Index<usize> for Chunks<V> {
    type Output = V;

    fn index(&self, at: usize) -> &V {
        &self.pieces[at / PIECE][at % PIECE]
    }
}

impl<V> IndexMut<usize> for Chunks<V> {
    fn index_mut(&mut self, at: usize) -> &mut V {
        &mut self.pieces[at / PIECE][at % PIECE]
    }
}
