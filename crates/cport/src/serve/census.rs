//! How many connections there are: bounded if asked, and with word to the main thread when one leaves.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
        mpsc::Sender,
    },
};

use super::Event;

/// Counts the connections, and those who are still on their way from an accept to a worker.
///
/// It is touched when a connection comes and when it goes, never for a message.
pub struct Census {
    /// Guests in the house, seated or not.
    guests: AtomicUsize,
    /// Those of them who are served.
    seated: AtomicUsize,
    /// How many may be served; `None`: as many as come.
    most: Option<usize>,
    /// Connections that have gone.
    closed: AtomicU64,
    /// The main thread waits for a connection to leave.
    room_wanted: AtomicBool,
    /// The main thread waits for everybody to leave.
    emptying: AtomicBool,
    /// Where it hears of it.
    events: Sender<Event>,
}

impl Census {
    /// Nobody is there yet.
    pub fn new(most: Option<usize>, events: Sender<Event>) -> Arc<Self> {
        Arc::new(Self {
            guests: AtomicUsize::new(0),
            seated: AtomicUsize::new(0),
            most,
            closed: AtomicU64::new(0),
            room_wanted: AtomicBool::new(false),
            emptying: AtomicBool::new(false),
            events,
        })
    }

    /// Whether the number of connections is bounded.
    pub fn bounded(&self) -> bool {
        self.most.is_some()
    }

    /// Whether one more connection could be served now.
    pub fn has_room(&self) -> bool {
        self.most.is_none_or(|most| self.seated() < most)
    }

    /// Counts somebody who has come, or may come.
    pub fn arrive(self: &Arc<Self>) -> Guest {
        self.guests.fetch_add(1, SeqCst);
        Guest { census: Arc::clone(self) }
    }

    /// Asks for an [`Event::Room`] when the next connection has left. Who asks looks for room once more afterwards: it may have
    /// left already.
    pub fn tell_room(&self) {
        self.room_wanted.store(true, SeqCst);
    }

    /// Asks for an [`Event::Empty`] whenever the last guest leaves.
    pub fn tell_empty(&self) {
        self.emptying.store(true, SeqCst);
    }

    /// Whether nobody is there, and nobody on the way.
    pub fn is_empty(&self) -> bool {
        self.guests.load(SeqCst) == 0
    }

    /// Connections that are served now.
    pub fn seated(&self) -> usize {
        self.seated.load(SeqCst)
    }

    /// Connections that have gone.
    pub fn closed(&self) -> u64 {
        self.closed.load(SeqCst)
    }
}

/// Somebody in the count: from the accept that may bring a connection until its socket is closed.
pub struct Guest {
    /// Where it counts.
    census: Arc<Census>,
}

/// A guest who is served. A type of its own, because every connection has one, and what a type says takes no room.
pub struct Seated(Guest);

impl Guest {
    /// Serves it from now on, if there is room; otherwise the guest goes on waiting.
    pub fn seat(self) -> Result<Seated, Self> {
        let most = self.census.most.unwrap_or(usize::MAX);
        let more = |seated| (seated < most).then_some(seated + 1);
        match self.census.seated.fetch_update(SeqCst, SeqCst, more) {
            Ok(_) => Ok(Seated(self)),
            Err(_) => Err(self),
        }
    }

    /// Serves it, room or not.
    pub fn squeeze_in(self) -> Seated {
        self.census.seated.fetch_add(1, SeqCst);
        Seated(self)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let last = self.census.guests.fetch_sub(1, SeqCst) == 1;
        // If the main thread is gone, nobody waits for word.
        if last && self.census.emptying.load(SeqCst) {
            let _ = self.census.events.send(Event::Empty);
        }
    }
}

impl Drop for Seated {
    /// Gives back the seat; the place in the count goes with the guest, right behind this.
    fn drop(&mut self) {
        let census = &self.0.census;
        census.closed.fetch_add(1, SeqCst);
        census.seated.fetch_sub(1, SeqCst);
        // The load spares the others a write.
        if census.room_wanted.load(SeqCst) && census.room_wanted.swap(false, SeqCst) {
            let _ = census.events.send(Event::Room);
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}

impl fmt::Debug for Seated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seated").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_bounded_census_has_so_many_seats() {
        let (events, inbox) = channel();
        let census = Census::new(Some(2), events);
        let first = census.arrive().seat().expect("room");
        let second = census.arrive().seat().expect("room");
        let third = census.arrive().seat().expect_err("no room");
        assert!(!census.has_room());
        census.tell_room();
        drop(third);
        assert!(inbox.try_recv().is_err(), "who was not served makes no room");
        drop(first);
        assert!(matches!(inbox.try_recv(), Ok(Event::Room)));
        assert!(census.has_room() && !census.is_empty());
        drop(second);
        assert!(inbox.try_recv().is_err(), "it was asked for once");
        assert_eq!((census.seated(), census.closed(), census.is_empty()), (0, 2, true));
    }

    #[test]
    fn the_last_to_leave_is_reported() {
        let (events, inbox) = channel();
        let census = Census::new(None, events);
        let seated: Vec<_> = (0..3).map(|_| census.arrive().squeeze_in()).collect();
        let on_the_way = census.arrive();
        census.tell_empty();
        drop(seated);
        assert!(inbox.try_recv().is_err(), "somebody is on the way");
        drop(on_the_way);
        assert!(matches!(inbox.try_recv(), Ok(Event::Empty)));
        assert!(inbox.try_recv().is_err());
    }
}
