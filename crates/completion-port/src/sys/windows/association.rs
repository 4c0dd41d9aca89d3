//! A socket or file belongs to one port, once (S6). The kernel sees to that, also for duplicates (S13); what routines have to know besides
//! is whether a socket of theirs has got a port, which is kept here.

use std::{
    collections::HashSet,
    io,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use super::{Descriptor, Raw, raw};

static ASSOCIATED: LazyLock<Mutex<HashSet<Raw>>> = LazyLock::new(Mutex::default);

fn associated() -> MutexGuard<'static, HashSet<Raw>> {
    ASSOCIATED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which socket it is, while it is open.
#[derive(Clone, Copy)]
pub(crate) struct Identity(Raw);

impl Identity {
    pub(crate) fn of(descriptor: &Descriptor) -> Self {
        Self(raw(descriptor))
    }

    /// Whether it belongs to a port.
    pub(crate) fn has_port(self) -> bool {
        associated().contains(&self.0)
    }
}

/// Held while it is associated.
pub(crate) struct Association(Raw);

impl Association {
    pub(crate) fn claim(descriptor: &Descriptor) -> io::Result<Option<Self>> {
        let raw = raw(descriptor);
        if associated().insert(raw) {
            Ok(Some(Self(raw)))
        } else {
            Err(crate::error::second_association())
        }
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        associated().remove(&self.0);
    }
}
