//! A socket belongs to one port, once (S6), and the association is the file object's, not the descriptor's (S13): a duplicate of an
//! associated socket is refused.
//!
//! Linux tells a socket by its cookie (`SO_COOKIE`, socket(7)), which duplicates share and no other socket ever has. Where a system
//! has no such thing, a duplicate is not recognised.

use std::{io, os::fd::OwnedFd};

/// Held while the socket is associated.
pub(super) struct Association(#[cfg_attr(not(target_os = "linux"), expect(dead_code))] u64);

impl Association {
    /// `None` where the system cannot tell.
    #[cfg(target_os = "linux")]
    pub(super) fn claim(fd: &OwnedFd) -> io::Result<Option<Self>> {
        // An emulated or confined kernel may have no cookies; that must not cost the association.
        let Ok(cookie) = rustix::net::sockopt::socket_cookie(fd) else { return Ok(None) };
        if linux::associated(cookie).insert(cookie) {
            Ok(Some(Self(cookie)))
        } else {
            Err(crate::error::second_association())
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn claim(_: &OwnedFd) -> io::Result<Option<Self>> {
        Ok(None)
    }
}

#[cfg(target_os = "linux")]
impl Drop for Association {
    fn drop(&mut self) {
        linux::associated(self.0).remove(&self.0);
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        collections::HashSet,
        sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    };

    /// Cookies of all associated sockets of the process, in shards: connections come and go on every thread.
    static ASSOCIATED: LazyLock<[Mutex<HashSet<u64>>; 16]> = LazyLock::new(Default::default);

    pub(super) fn associated(cookie: u64) -> MutexGuard<'static, HashSet<u64>> {
        ASSOCIATED[cookie as usize % 16].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
