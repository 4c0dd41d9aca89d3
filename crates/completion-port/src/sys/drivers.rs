//! The drivers of one port: one for each place among its running threads, where that pays; and sleeping in some of them at once.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Driver, Event, Medium, Socket, SystemPort,
    beside::{self, Beside},
    os,
};
use crate::{
    error,
    schedule::{Bed, Set},
};

/// What a wait in drivers came to.
#[derive(Debug, Default)]
pub(crate) struct Waited {
    /// There is something beside.
    pub beside: bool,
    /// Since when the oldest of what was brought had been left there ([`Driver::wait`]).
    pub since: Option<Instant>,
}

/// There is at least one. Sockets, the clock and threads that are no workers are with the first.
pub(crate) struct Drivers(Box<[Box<dyn Driver>]>);

impl Drivers {
    pub(crate) fn new(drivers: Vec<Box<dyn Driver>>) -> Self {
        debug_assert!((1..=Set::MOST).contains(&drivers.len()));
        Self(drivers.into())
    }

    fn first(&self) -> &dyn Driver {
        &*self.0[0]
    }

    pub(crate) fn get(&self, driver: usize) -> &dyn Driver {
        &*self.0[driver]
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// [`Driver::system_port`] of the first, which is the only one then.
    pub(crate) fn system_port(&self) -> Option<Arc<dyn SystemPort>> {
        self.first().system_port()
    }

    /// Makes a socket ready to be used through any of them.
    pub(crate) fn attach(&self, socket: &Socket, medium: Medium) -> io::Result<u32> {
        self.first().attach(socket, medium)
    }

    pub(crate) fn detach(&self, socket: &Socket, token: u32) {
        self.first().detach(socket, token);
    }

    pub(crate) fn now(&self) -> Instant {
        self.first().now()
    }

    pub(crate) fn millis(&self) -> u32 {
        self.first().millis()
    }

    /// [`Driver::is_behind`] of the first.
    pub(crate) fn is_behind(&self) -> bool {
        self.first().is_behind()
    }

    /// Those that have operations.
    pub(crate) fn occupied(&self) -> Set {
        (0..self.len()).filter(|driver| self.is_occupied(*driver)).collect()
    }

    /// One that holds a buffer ready for who needs one.
    pub(crate) fn with_buffer(&self) -> Option<usize> {
        self.0.iter().position(|driver| driver.ready_buffers() > 0)
    }

    /// [`Driver::wait`] in several at once, cut short when there is something beside.
    pub(crate) fn wait(
        &self,
        those: Set,
        beside: &[Beside<'_>],
        timeout: Option<Duration>,
        most: usize,
        events: &mut Vec<Event>,
    ) -> io::Result<Waited> {
        if let (Some(only), []) = (those.only(), beside) {
            let since = self.get(only).wait(timeout, most, events)?;
            return Ok(Waited { since, beside: false });
        }
        let timeout = self.patience(those, timeout);
        let mut waited = Waited::default();
        if timeout != Some(Duration::ZERO) || !beside.is_empty() {
            let mut all = self.beside(those)?;
            let own = all.len();
            all.extend(beside);
            let told = beside::sleep(&all, timeout)?;
            waited.beside = told[own..].contains(&true);
        }
        for driver in those.iter() {
            match self.get(driver).wait(Some(Duration::ZERO), most, events) {
                Ok(since) => waited.since = [waited.since, since].into_iter().flatten().min(),
                // What the others have brought must not be lost with it; it fails again, alone.
                Err(e) if events.is_empty() => return Err(e),
                Err(_) => {}
            }
        }
        Ok(waited)
    }

    /// How long one may sleep [beside](Drivers::beside) them: not at all while something is left in one, of which that does not tell.
    pub(crate) fn patience(&self, those: Set, timeout: Option<Duration>) -> Option<Duration> {
        let left = those.iter().any(|driver| self.get(driver).has_left());
        if left { Some(Duration::ZERO) } else { timeout }
    }

    /// What who sleeps on something else sleeps on beside that, to be asked for just before.
    pub(crate) fn beside(&self, those: Set) -> io::Result<Vec<Beside<'_>>> {
        // A sleep in the driver would do that by itself.
        those.iter().for_each(|driver| self.get(driver).hand_over());
        those.iter().map(|driver| self.get(driver).beside().ok_or_else(error::not_beside)).collect()
    }
}

impl Bed for Drivers {
    fn is_timely(&self) -> bool {
        self.first().is_timely()
    }

    fn wake(&self, driver: usize) {
        self.get(driver).wake();
    }

    fn is_occupied(&self, driver: usize) -> bool {
        self.get(driver).in_flight() > 0
    }

    fn wants_kicks(&self) -> bool {
        self.first().wants_kicks()
    }

    fn kick(&self) {
        // One is enough: it reaches every thread of the process.
        if let Some(driver) = self.0.iter().find(|driver| driver.in_flight() > 0) {
            driver.kick();
        }
    }

    fn has_spare_processor(&self) -> bool {
        os::has_spare_processor()
    }

    fn now(&self) -> Instant {
        self.first().now()
    }
}
