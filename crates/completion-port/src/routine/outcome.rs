//! What has become of an operation with an event, between its start and whoever asks.

use std::cell::RefCell;

use super::start::Done;
use crate::event::Event;

/// The thread's place has one end of it, the [`Overlapped`](super::Overlapped) the other.
pub(super) struct Outcome {
    event: Event,
    state: RefCell<State>,
}

enum State {
    Pending,
    Over(Done),
    Taken,
    /// Nobody will ask.
    Abandoned,
}

impl Outcome {
    pub(super) fn new(event: Event) -> Self {
        Self { event, state: RefCell::new(State::Pending) }
    }

    /// It is over. If nobody is going to ask, the event is somebody else's by now, and what comes back is dropped.
    pub(super) fn complete(&self, done: Done) {
        if self.is_pending() {
            self.state.replace(State::Over(done));
            self.event.set();
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(*self.state.borrow(), State::Pending)
    }

    /// Once.
    pub(super) fn take(&self) -> Option<Done> {
        match self.state.replace(State::Taken) {
            State::Over(done) => Some(done),
            other => {
                self.state.replace(other);
                None
            }
        }
    }

    pub(super) fn abandon(&self) {
        drop(self.state.replace(State::Abandoned));
    }
}
