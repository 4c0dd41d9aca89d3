//! Everybody who is there, by number.

/// Like a slab, with eight bytes for each pointer in it instead of sixteen: very many connections are in one.
pub(super) struct Roll<V> {
    places: Vec<Option<V>>,
    /// Numbers of those who have left, for those who come.
    free: Vec<u32>,
}

impl<V> Roll<V> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Gives out a number, which is nobody else's until it is removed.
    pub(super) fn insert(&mut self, value: V) -> u32 {
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = Some(value);
            return number;
        }
        // A process has fewer descriptors than that, and for so many keys it would want a terabyte.
        let number = u32::try_from(self.places.len())
            .unwrap_or_else(|_| panic!("a port has at most {} handles", u32::MAX));
        self.places.push(Some(value));
        number
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<V> {
        let gone = self.places.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(gone)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &V> {
        self.places.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_out_again_when_it_is_free() {
        let mut roll = Roll::new();
        assert_eq!(["a", "b", "c"].map(|name| roll.insert(name)), [0, 1, 2]);
        assert_eq!((roll.remove(1), roll.remove(1), roll.remove(7)), (Some("b"), None, None));
        assert_eq!(roll.iter().copied().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!((roll.insert("d"), roll.insert("e")), (1, 3));
        assert_eq!(roll.iter().copied().collect::<Vec<_>>(), ["a", "d", "c", "e"]);
    }
}
