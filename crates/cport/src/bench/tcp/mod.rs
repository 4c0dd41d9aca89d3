//! The load on streams: one thread with a completion port of its own, and its share of the connections.
//!
//! Nothing is shared with other threads, so that no part of the load waits for another. On each connection one receive is always
//! pending, and when messages have come back, as many more leave as there is room for and as are due.

mod lane;
mod steps;

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use completion_port::{CompletionPort, GetError};

use self::lane::{Lane, State};
use super::{
    errors::Kind,
    meter::{Measured, Meter},
    pace::{self, Progress, Share},
    plan::Plan,
    schedule::{Clock, Schedule},
    source::Sources,
};
use crate::error::plain;

/// Packets that are taken at a time.
const BATCH: usize = 32;
/// Connections that are being made at a time: fewer than any backlog holds.
const OPENING: usize = 64;
/// How often connections are looked after: those that are down, and those on which nothing moves.
const TICK: Duration = Duration::from_millis(50);
/// How long a connection that has failed is down.
const PAUSE: Duration = Duration::from_millis(100);

/// Which socket a packet is about.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The place of its lane.
    place: usize,
    /// Which of the lane's sockets.
    generation: u32,
}

/// What a packet is about.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The connection is made, or cannot be.
    Connect,
    /// Messages have left.
    Send,
    /// Something has come back.
    Recv,
}

/// The thread's port.
type Port = CompletionPort<Key, Step>;
/// A connection at it.
type Handle = completion_port::Handle<Key, Step>;
/// A packet from it.
type Done = completion_port::Completion<Key, Step>;

/// One thread's share of the load.
pub struct Worker<'a> {
    /// What all threads do.
    plan: &'a Plan,
    /// Where its completions come from.
    port: Port,
    /// Its connections.
    lanes: Vec<Lane>,
    /// Connections that are being made.
    opening: usize,
    /// Where they come from.
    sources: Option<Sources>,
    /// What it measures.
    meter: Meter<'a>,
    /// When messages are due. `None`: none leaves, because the run has not begun or is over.
    schedule: Option<Schedule>,
    /// Packets that have been taken.
    batch: Vec<Done>,
    /// When the connections are next looked after.
    tick: Instant,
}

impl<'a> Worker<'a> {
    /// With a port, and no connection yet.
    pub fn new(plan: &'a Plan, thread: usize, meter: Meter<'a>) -> io::Result<Self> {
        let mut builder = CompletionPort::builder().limit(1).queue_limit(plan.depth + 1);
        if let Some(driver) = plan.driver {
            builder = builder.driver(driver);
        }
        let port: Port = builder.build()?;
        let now = Instant::now();
        Ok(Self {
            plan,
            port,
            lanes: plan.share(thread).map(|number| Lane::new(number, now)).collect(),
            opening: 0,
            sources: Sources::new(plan.address, thread).filter(|_| plan.many()),
            meter,
            schedule: None,
            batch: Vec::with_capacity(BATCH),
            tick: now,
        })
    }

    /// Which driver the port has.
    pub fn driver(&self) -> String {
        self.port.driver().kind().to_string()
    }

    /// Makes the connections, and tells how many there are. Those that cannot be made are tried again during the run.
    pub fn connect(&mut self) -> io::Result<usize> {
        if self.plan.churn {
            return Ok(self.lanes.len());
        }
        let until = Instant::now() + self.plan.timeout;
        let mut next = 0;
        loop {
            let now = Instant::now();
            while next < self.lanes.len() && self.opening < OPENING {
                self.open(next, now);
                next += 1;
            }
            let all = next == self.lanes.len() && self.opening == 0;
            if all || now >= until || self.plan.stop.load(Relaxed) {
                break;
            }
            self.turn(TICK)?;
        }
        Ok(self.lanes.iter().filter(|lane| lane.state == State::Up).count())
    }

    /// Sends and receives by the clock, and tells what came of it.
    pub fn run(mut self, clock: Clock) -> io::Result<Measured> {
        pace::run(&mut self, clock)?;
        Ok(self.meter.finish())
    }

    /// Opens a connection that has been down for long enough, and gives up one on which nothing moves.
    fn look_after(&mut self, place: usize, now: Instant) {
        let lane = &mut self.lanes[place];
        match lane.state {
            State::Down(again) if self.schedule.is_some() && again <= now => {
                if self.plan.churn {
                    self.pump(place, now);
                } else {
                    self.open(place, now);
                }
            }
            State::Opening | State::Up
                if now.saturating_duration_since(lane.moved) > self.plan.timeout
                    && (lane.state == State::Opening || !lane.waiting.is_empty()) =>
            {
                lost(&mut self.meter, lane);
                self.shut(place, now);
            }
            _ => {}
        }
    }
}

impl<'a> Share<'a> for Worker<'a> {
    fn plan(&self) -> &'a Plan {
        self.plan
    }

    fn meter(&mut self) -> &mut Meter<'a> {
        &mut self.meter
    }

    fn set_schedule(&mut self, schedule: Option<Schedule>) {
        self.schedule = schedule;
    }

    fn connections(&self) -> impl Iterator<Item = Progress> {
        self.lanes.iter().map(|lane| Progress {
            number: lane.number,
            started: lane.started,
            waits: !lane.waiting.is_empty(),
        })
    }

    fn pump(&mut self, place: usize, now: Instant) {
        Worker::pump(self, place, now);
    }

    fn turn(&mut self, wait: Duration) -> io::Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        match self.port.get_many(&mut batch, BATCH, Some(wait.min(TICK))) {
            Ok(_) | Err(GetError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        for done in batch.drain(..) {
            self.take(done);
        }
        self.batch = batch;
        let now = Instant::now();
        if now >= self.tick {
            self.tick = now + TICK;
            (0..self.lanes.len()).for_each(|place| self.look_after(place, now));
        }
        Ok(())
    }

    fn end(&mut self, place: usize, now: Instant) {
        let lane = &mut self.lanes[place];
        // Who interrupts a run does not want to wait for what is on its way.
        if !lane.waiting.is_empty() && !self.plan.stop.load(Relaxed) {
            lost(&mut self.meter, lane);
        }
        lane.close(now);
    }
}

/// Nothing has come back for too long.
fn lost(meter: &mut Meter<'_>, lane: &Lane) {
    let (number, waiting) = (lane.number, lane.waiting.len());
    meter.failed(Kind::Timeout, || {
        format!(
            "connection {number}: nothing came for too long, with {waiting} messages on their way"
        )
    });
}

/// Finds out whether anybody listens there. The error is for a person.
pub fn knock(server: SocketAddr, timeout: Duration) -> Result<(), String> {
    TcpStream::connect_timeout(&server, timeout).map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".into(),
        _ => plain(&error),
    })
}
