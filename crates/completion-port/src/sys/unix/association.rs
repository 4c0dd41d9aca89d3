//! A socket belongs to one port, once (S6), and the association is the file object's, not the descriptor's (S13): a duplicate of an
//! associated socket is refused.
//!
//! Linux tells a socket by its cookie (`SO_COOKIE`, socket(7)), which duplicates share and no other socket ever has. Where a system
//! has no such thing, a duplicate is not recognised.

use std::{io, num::NonZeroU64, os::fd::OwnedFd};

/// Which socket it is, whatever descriptor names it; `None` where the system cannot tell.
#[derive(Clone, Copy)]
pub(crate) struct Identity(
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))] Option<NonZeroU64>,
);

impl Identity {
    #[cfg(target_os = "linux")]
    pub(crate) fn of(fd: &OwnedFd) -> Self {
        // An emulated or confined kernel may have no cookies; that must not cost the socket. Linux gives nobody zero.
        Self(rustix::net::sockopt::socket_cookie(fd).ok().and_then(NonZeroU64::new))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_: &OwnedFd) -> Self {
        Self(None)
    }

    /// Whether it belongs to a port.
    pub(crate) fn has_port(self) -> bool {
        #[cfg(target_os = "linux")]
        return self.0.is_some_and(|cookie| linux::associated(cookie).contains(&cookie));
        #[cfg(not(target_os = "linux"))]
        false
    }
}

/// Held while the socket is associated.
pub(crate) struct Association(#[cfg_attr(not(target_os = "linux"), expect(dead_code))] NonZeroU64);

impl Association {
    /// `None` where the system cannot tell.
    #[cfg(target_os = "linux")]
    pub(crate) fn claim(fd: &OwnedFd) -> io::Result<Option<Self>> {
        let Some(cookie) = Identity::of(fd).0 else { return Ok(None) };
        if linux::associated(cookie).insert(cookie) {
            Ok(Some(Self(cookie)))
        } else {
            Err(crate::error::second_association())
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn claim(_: &OwnedFd) -> io::Result<Option<Self>> {
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
        num::NonZeroU64,
        sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    };

    /// Cookies of all associated sockets of the process, in shards: connections come and go on every thread.
    static ASSOCIATED: LazyLock<[Mutex<HashSet<NonZeroU64>>; 16]> = LazyLock::new(Default::default);

    pub(super) fn associated(cookie: NonZeroU64) -> MutexGuard<'static, HashSet<NonZeroU64>> {
        crate::pause::here();
        ASSOCIATED[cookie.get() as usize % 16].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
