//! What is known of the sockets: whether each direction is ready, and which operation waits for that.

use std::{io, ptr::NonNull};

use slab::Slab;

use super::poller::Edge;
use crate::operation::{Header, Side};

/// A socket's token is its index.
#[derive(Default)]
pub(super) struct Sockets {
    sockets: Slab<Lanes>,
    /// Sockets that there have been.
    added: u32,
    parked: usize,
}

// SAFETY: the operations parked in the lanes are owned by the driver, from whichever thread it is called.
unsafe impl Send for Sockets {}

struct Lanes {
    lanes: [Lane; 2],
    /// Tells the socket from another that had its index: an edge may be a while on its way.
    number: u32,
}

/// One direction of one socket.
pub(super) struct Lane {
    /// The last thing heard was that it is ready (or nothing yet: the first attempt finds out).
    pub ready: bool,
    /// The peer has closed or failed it: there is something to read even when a read came back short.
    pub closed: bool,
    pub edges: u32,
    parked: Option<NonNull<Header>>,
}

impl Lane {
    const fn new() -> Self {
        Self { ready: true, closed: false, edges: 0, parked: None }
    }
}

impl Sockets {
    /// Adds one that `register` registers, with what its edges are to tell.
    pub(super) fn add(&mut self, register: impl FnOnce(u64) -> io::Result<()>) -> io::Result<u32> {
        self.added = self.added.wrapping_add(1);
        // A poller's key may have no room for it; then a stale edge costs vain attempts.
        let number = if usize::BITS < u64::BITS { 0 } else { self.added };
        let entry = self.sockets.vacant_entry();
        let token = entry.key() as u32;
        register(u64::from(number) << 32 | u64::from(token))?;
        entry.insert(Lanes { lanes: [Lane::new(), Lane::new()], number });
        Ok(token)
    }

    pub(super) fn remove(&mut self, token: u32) {
        self.sockets.try_remove(token as usize);
    }

    /// Where the operation waits, or would.
    pub(super) fn lane(&mut self, header: &Header) -> &mut Lane {
        self.lane_of(header.target.get().token, header.kind.side())
    }

    fn lane_of(&mut self, token: u32, side: Side) -> &mut Lane {
        &mut self.sockets[token as usize].lanes[side as usize]
    }

    /// How many operations are.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// The operation is the driver's, and waits for the next edge.
    pub(super) fn park(&mut self, op: NonNull<Header>) {
        // SAFETY: the driver's, which has the lock.
        self.lane(unsafe { op.as_ref() }).parked = Some(op);
        self.parked += 1;
    }

    /// Takes the operation out, if it waits there.
    pub(super) fn unpark(&mut self, op: NonNull<Header>, token: u32, side: Side) -> bool {
        let parked = self.lane_of(token, side).parked.take_if(|parked| *parked == op).is_some();
        self.parked -= usize::from(parked);
        parked
    }

    /// It is the edge's turn: what waited for it is the caller's, to be attempted. Tells how many that are.
    ///
    /// Their lanes are taken to be exhausted by that, as they mostly are.
    pub(super) fn claim(&mut self, edge: &Edge, claimed: &mut Vec<NonNull<Header>>) -> usize {
        let before = claimed.len();
        let socket = self.sockets.get_mut(edge.token as u32 as usize);
        // It may have gone since.
        let Some(socket) = socket.filter(|socket| u64::from(socket.number) == edge.token >> 32)
        else {
            return 0;
        };
        for (lane, concerned) in socket.lanes.iter_mut().zip([edge.readable, edge.writable]) {
            if concerned {
                lane.closed |= edge.closed;
                lane.edges = lane.edges.wrapping_add(1);
                lane.ready = lane.closed || lane.parked.is_none();
                claimed.extend(lane.parked.take());
            }
        }
        let count = claimed.len() - before;
        self.parked -= count;
        count
    }
}

const _: () = assert!(Side::In as usize == 0, "the order of the lanes");

#[cfg(all(test, not(completion_port_loom)))]
mod tests {
    use super::*;

    /// One more, and the edge of it by which a peer's close is told.
    fn add(sockets: &mut Sockets) -> (u32, Edge) {
        let mut key = 0;
        let token = sockets.add(|told| {
            key = told;
            Ok(())
        });
        let edge = Edge { token: key, readable: true, writable: false, closed: true };
        (token.expect("it is registered"), edge)
    }

    #[test]
    fn an_edge_of_a_socket_that_is_gone_is_not_anothers() {
        let mut sockets = Sockets::default();
        let (gone, late) = add(&mut sockets);
        sockets.remove(gone);
        assert_eq!(sockets.claim(&late, &mut Vec::new()), 0);
        let (token, own) = add(&mut sockets);
        assert_eq!(token, gone, "it has that one's place");
        for (edge, closed) in [(&late, usize::BITS < u64::BITS), (&own, true)] {
            assert_eq!(sockets.claim(edge, &mut Vec::new()), 0, "nothing waits there");
            assert_eq!(sockets.lane_of(token, Side::In).closed, closed);
            assert!(!sockets.lane_of(token, Side::Out).closed, "it is told of one direction");
        }
    }

    #[test]
    fn who_cannot_be_registered_is_not_there() {
        let mut sockets = Sockets::default();
        let refused = sockets.add(|_| Err(io::ErrorKind::Other.into()));
        assert!(refused.is_err() && sockets.sockets.is_empty());
    }
}
