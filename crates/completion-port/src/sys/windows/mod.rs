//! Windows: its completion ports, and its asynchronous procedure calls for routines.
//!
//! - [`port`]: the driver of a completion port; [`queue`]: the kernel's own, with [`alarm`], its timer. [`apc`]: that of a thread's
//!   routines, which the kernel calls in the thread's alertable waits.
//! - [`request`]: how each operation starts. [`judge`]: what its end means. [`slot`]: what lies in an operation for the kernel, and who
//!   is told of its end; [`guest`]: where the kernel knows no other way to tell than an event.
//! - The rest is what every system supplies: see [`crate::sys`].

mod alarm;
mod apc;
pub(crate) mod association;
pub(crate) mod beside;
pub(crate) mod codes;
mod descriptor;
mod extensions;
mod file;
mod guest;
mod handles;
mod judge;
pub(crate) mod memory;
mod message;
mod peer;
mod piece;
mod plain;
mod port;
pub(crate) mod punctual;
mod queue;
mod request;
mod slot;
mod socket;
mod status;
pub(crate) mod thread_state;
mod wine;

use super::choose::DriverKind;
use windows_sys::Win32::System::SystemInformation::GetTickCount64;

pub(super) use self::{apc::Apc, port::Port};
pub(crate) use self::{
    descriptor::{Descriptor, NOTHING, Raw, raw, sock_ref},
    file::check,
    message::Message,
    peer::Peer,
    piece::{Header, LONGEST_PIECE, MOST_PIECES, Piece},
    plain::{connect_now, receive_now, send_now},
    slot::Slot,
    socket::{dissolve, is_nonblocking, torn_down},
};

/// The drivers: the kernel's port, which decides who runs, unless it keeps no limit.
pub(super) fn ladder() -> &'static [DriverKind] {
    if wine::is_here() {
        &[DriverKind::WindowsUnlimited, DriverKind::Windows]
    } else {
        &[DriverKind::Windows, DriverKind::WindowsUnlimited]
    }
}

/// Whether a receive that is pending is told the end when reading is shut down.
pub(crate) const SHUTDOWN_WAKES_READERS: bool = false;

/// Whether what is over when its start returns is brought in by the thread's waits all the same: so it is with procedure calls.
pub(crate) const OVER_COMES_LATER: bool = true;

/// How much more than on Linux a handle and an operation take, beside a slot: handles are longer than descriptors.
pub(crate) const MORE: usize = 48;

/// Whether sends of streams are tried by a plain call first, which costs less than what the drivers have.
pub(crate) const SENDS_AT_ONCE: bool = false;

/// Whether files can be sent without a copy.
pub(crate) const SENDS_FILES: bool = true;

/// What lies between a file and a socket: nothing.
pub(crate) type Way = ();

/// Milliseconds from anywhere, to a tick of the system; they wrap.
pub(crate) fn millis() -> u32 {
    // SAFETY: it has no conditions.
    unsafe { GetTickCount64() as u32 }
}

/// Not to be told here, so there is one.
pub(crate) fn has_spare_processor() -> bool {
    true
}

/// So long a wait may be, in the system's milliseconds: the next one is not shorter than asked, and never "for ever" by chance.
fn milliseconds(timeout: Option<std::time::Duration>) -> u32 {
    const FOR_EVER: u32 = u32::MAX;
    let Some(timeout) = timeout else { return FOR_EVER };
    let up = timeout.as_nanos().div_ceil(1_000_000);
    u32::try_from(up).map_or(FOR_EVER - 1, |up| up.min(FOR_EVER - 1))
}
