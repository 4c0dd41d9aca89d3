//! The threads of the load: each connects, says so, waits for the beginning, and runs.

use std::{
    io,
    sync::{
        atomic::Ordering::Relaxed,
        mpsc::{Sender, channel},
    },
};

use super::{
    meter::{Counters, Measured, Meter},
    plan::Plan,
    schedule::Clock,
    tcp, udp,
};
use crate::{
    error::{Failure, plain},
    sys::machine,
};

/// What the main thread waits for.
pub enum Event {
    /// A thread has connected, or cannot go on.
    Ready(Result<Ready, Failure>),
    /// A thread has failed in the middle.
    Failed,
    /// A signal.
    Interrupt,
}

/// A thread that is about to begin.
pub struct Ready {
    /// Connections that it has.
    pub connections: usize,
    /// What they run on.
    pub driver: String,
    /// Where it waits for the beginning.
    pub begin: Sender<Clock>,
}

/// A thread of the load on streams.
pub fn streams(
    plan: &Plan,
    n: usize,
    counters: &Counters,
    events: &Sender<Event>,
) -> Result<Measured, Failure> {
    let start = || {
        let mut worker = tcp::Worker::new(plan, n, Meter::new(counters))?;
        let connections = worker.connect()?;
        let driver = worker.driver();
        Ok((worker, connections, driver))
    };
    work(start, |worker, clock| worker.run(clock), plan, events)
}

/// A thread of the load on datagrams.
pub fn datagrams(
    plan: &Plan,
    n: usize,
    counters: &Counters,
    events: &Sender<Event>,
) -> Result<Measured, Failure> {
    let start = || {
        let worker = udp::Worker::new(plan, n, Meter::new(counters))?;
        let (connections, driver) = (worker.count(), worker.driver());
        Ok((worker, connections, driver))
    };
    work(start, |worker, clock| worker.run(clock), plan, events)
}

/// Starts, says so, waits for the beginning, and runs.
fn work<W>(
    start: impl FnOnce() -> io::Result<(W, usize, String)>,
    run: impl FnOnce(W, Clock) -> io::Result<Measured>,
    plan: &Plan,
    events: &Sender<Event>,
) -> Result<Measured, Failure> {
    let failed = |error: io::Error| Failure::runtime(format!("the load failed: {}", plain(&error)));
    if plan.rate.is_some() {
        machine::be_punctual();
    }
    // If the main thread does not listen any more, it has failed and says why.
    let tell = |event| drop(events.send(event));
    let (begin, began) = channel();
    let worker = match start() {
        Ok((worker, connections, driver)) => {
            tell(Event::Ready(Ok(Ready { connections, driver, begin })));
            worker
        }
        Err(error) => {
            tell(Event::Ready(Err(failed(error))));
            return Ok(Measured::default());
        }
    };
    let Ok(clock) = began.recv() else { return Ok(Measured::default()) };
    run(worker, clock).map_err(|error| {
        plan.stop.store(true, Relaxed);
        tell(Event::Failed);
        failed(error)
    })
}
