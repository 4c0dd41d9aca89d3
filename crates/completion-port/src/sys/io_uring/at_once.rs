//! Receives that are tried without the ring: of handles that skip the packet of what succeeds at once, whose starters gain by that.

use std::{
    io::{
        self,
        ErrorKind::{Interrupted, WouldBlock},
    },
    sync::Arc,
};

use crate::{
    buffer::Pool,
    operation::{Header, OpKind},
    sys::{Output, unix::receive::receive_now},
};

/// What came of it; `None` if nothing did, and the ring is to take it.
///
/// # Safety
///
/// The caller owns the operation, and its socket is open.
pub(super) unsafe fn receive(header: &Header, pool: &Arc<Pool>) -> Option<io::Result<Output>> {
    // First what keeps all others from more than a look.
    if !header.is_for_at_once() || header.is_pipe() {
        return None;
    }
    // SAFETY: owned by the caller.
    let work = unsafe { header.work() };
    let result = match header.kind {
        // SAFETY: open, as the caller says.
        OpKind::Recv => unsafe { receive_now(header, &mut work.buffer) },
        OpKind::RecvLent => {
            let mut lent = pool.lend()?;
            // SAFETY: as above.
            let result = unsafe { receive_now(header, &mut lent) };
            if matches!(result, Ok(1..)) {
                work.buffer = lent;
            }
            result
        }
        _ => return None,
    };
    match result {
        Err(e) if matches!(e.kind(), WouldBlock | Interrupted) => None,
        result => Some(result.map(Output::Bytes)),
    }
}
