//! What is known of the sockets: whether each direction is ready, and which operation waits for that.

use std::{io, ptr::NonNull};

use slab::Slab;

use super::{Backlog, poller::Edge};
use crate::operation::{Header, OpKind, Side};

/// A socket's token is its index. A stale edge for an index that was used again costs one vain attempt.
#[derive(Default)]
pub(super) struct Sockets(Slab<[Lane; 2]>);

// SAFETY: the operations parked in the lanes are owned by the driver, from whichever thread it is called.
unsafe impl Send for Sockets {}

/// One direction of one socket.
pub(super) struct Lane {
    /// The last thing heard was that it is ready (or nothing yet: the first attempt finds out).
    pub ready: bool,
    /// The peer has closed or failed it: there is something to read even when a read came back short.
    pub closed: bool,
    /// What is parked receives from a stream. Kept here, because the operation itself is not to be looked at before its turn: it would have
    /// left the processor's caches again by then.
    receives: bool,
    pub edges: u32,
    parked: Option<NonNull<Header>>,
}

impl Lane {
    const fn new() -> Self {
        Self { ready: true, closed: false, receives: false, edges: 0, parked: None }
    }
}

impl Sockets {
    /// Adds one, which `register` registers by its token.
    pub(super) fn add(&mut self, register: impl FnOnce(u64) -> io::Result<()>) -> io::Result<u32> {
        let entry = self.0.vacant_entry();
        let token = entry.key() as u32;
        register(token.into())?;
        entry.insert([Lane::new(), Lane::new()]);
        Ok(token)
    }

    pub(super) fn remove(&mut self, token: u32) {
        self.0.try_remove(token as usize);
    }

    /// Where the operation waits, or would.
    pub(super) fn lane(&mut self, header: &Header) -> &mut Lane {
        self.lane_of(header.target.get().token, header.kind.side())
    }

    fn lane_of(&mut self, token: u32, side: Side) -> &mut Lane {
        &mut self.0[token as usize][side as usize]
    }

    /// The operation is the driver's, and waits for the next edge.
    pub(super) fn park(&mut self, op: NonNull<Header>) {
        // SAFETY: the driver's, which has the lock.
        let header = unsafe { op.as_ref() };
        let lane = self.lane(header);
        lane.parked = Some(op);
        lane.receives = matches!(header.kind, OpKind::Recv | OpKind::RecvLent);
    }

    /// Takes the operation out, if it waits there.
    pub(super) fn unpark(&mut self, op: NonNull<Header>, token: u32, side: Side) -> bool {
        self.lane_of(token, side).parked.take_if(|parked| *parked == op).is_some()
    }

    /// What waited for the edge is to be attempted, a receive when it is its turn and anything else at once.
    ///
    /// The lane is taken to be exhausted by that attempt, as it mostly is; whoever makes it says so if not.
    pub(super) fn hear(
        &mut self,
        edge: &Edge,
        ready: &mut Backlog,
        claimed: &mut Vec<NonNull<Header>>,
    ) {
        // A socket that was detached since the edge was heard.
        let Some(lanes) = self.0.get_mut(edge.token as usize) else { return };
        for (lane, concerned) in lanes.iter_mut().zip([edge.readable, edge.writable]) {
            if !concerned {
                continue;
            }
            lane.closed |= edge.closed;
            lane.edges = lane.edges.wrapping_add(1);
            lane.ready = lane.closed || lane.parked.is_none();
            match lane.parked.take() {
                Some(op) if lane.receives => ready.push(op),
                Some(op) => claimed.push(op),
                None => {}
            }
        }
    }
}

const _: () = assert!(Side::In as usize == 0, "the order of the lanes");
