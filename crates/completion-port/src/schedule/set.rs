//! Which of a port's drivers: a set of small numbers.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Set(u64);

impl Set {
    /// A port has at most so many drivers.
    pub(crate) const MOST: usize = u64::BITS as usize;

    pub(crate) fn one(driver: usize) -> Self {
        Self(1 << driver)
    }

    pub(crate) fn contains(self, driver: usize) -> bool {
        self.0 >> driver & 1 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub(crate) fn with(self, driver: usize) -> Self {
        Self(self.0 | 1 << driver)
    }

    #[must_use]
    pub(crate) fn without(self, driver: usize) -> Self {
        Self(self.0 & !(1 << driver))
    }

    /// The lowest.
    pub(crate) fn first(self) -> Option<usize> {
        (!self.is_empty()).then(|| self.0.trailing_zeros() as usize)
    }

    /// The one that is in it, if it is alone there.
    pub(crate) fn only(self) -> Option<usize> {
        self.first().filter(|first| self.without(*first).is_empty())
    }

    /// The lowest first.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let first = rest.first()?;
            rest = rest.without(first);
            Some(first)
        })
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(drivers: I) -> Self {
        drivers.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
