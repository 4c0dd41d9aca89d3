//! What every Unix has: how its descriptors are owned, named and slept on, and the calls that more than one driver makes.

pub(crate) mod association;
pub(crate) mod beside;
mod coarse;
pub(crate) mod codes;
mod file;
mod handles;
pub(crate) mod memory;
mod message;
mod peer;
mod piece;
pub(super) mod pipe;
mod plain;
pub(crate) mod punctual;
pub(super) mod receive;
pub(super) mod send;
mod sigpipe;
mod socket;
mod spare;
pub(crate) mod thread_state;
pub(super) mod transmit_file;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::choose::{DriverKind, Rung};

use socket2::SockRef;

pub(super) use self::message::receive_now as receive_message_now;
#[cfg(target_os = "linux")]
pub(crate) use self::transmit_file::Way;
pub(crate) use self::{
    coarse::millis,
    file::check,
    message::Message,
    peer::Peer,
    piece::{Header, LONGEST_PIECE, MOST_PIECES, Piece},
    plain::{connect_now, receive_now, send_now},
    socket::{dissolve, is_nonblocking, torn_down},
    spare::has_spare_processor,
};

/// The drivers, from the best to the one that is always there.
pub(super) fn ladder() -> &'static [DriverKind] {
    &[
        DriverKind::IoUring(Rung::BufferRing),
        DriverKind::IoUring(Rung::Coop),
        DriverKind::IoUring(Rung::Basic),
        DriverKind::Readiness,
    ]
}

/// An owned handle of the system's.
pub(crate) type Descriptor = OwnedFd;
/// How operations name it.
pub(crate) type Raw = RawFd;
/// It names nothing.
pub(crate) const NOTHING: Raw = -1;

/// Whether a receive that is pending is told the end when reading is shut down.
pub(crate) const SHUTDOWN_WAKES_READERS: bool = true;

/// Whether what is over when its start returns is brought in by the thread's waits all the same.
pub(crate) const OVER_COMES_LATER: bool = false;

/// How much more than on Linux a handle and an operation take. A lock of Apple's is a word longer, and a handle has two.
pub(crate) const MORE: usize = if cfg!(target_vendor = "apple") { 16 } else { 0 };

/// What a driver keeps in each operation: nothing.
#[derive(Default)]
pub(crate) struct Slot;

pub(crate) fn raw(descriptor: &Descriptor) -> Raw {
    descriptor.as_raw_fd()
}

pub(crate) fn sock_ref(descriptor: &Descriptor) -> SockRef<'_> {
    SockRef::from(descriptor)
}

/// Whether sends of streams are tried by a plain call first, which costs less than what the drivers have.
pub(crate) const SENDS_AT_ONCE: bool = true;

/// Whether files can be sent without a copy.
pub(crate) const SENDS_FILES: bool = cfg!(target_os = "linux");

#[cfg(not(target_os = "linux"))]
/// What lies between a file and a socket: nothing here.
pub(crate) type Way = ();
