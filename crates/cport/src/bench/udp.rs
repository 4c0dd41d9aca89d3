//! The load on datagrams: one thread with a completion port of its own, and its share of the sockets. On each a continuing receive brings
//! what comes back.
//!
//! Each datagram begins with a word that is found at one place of its socket's pattern only: that tells which one it is, whatever was
//! lost, came twice, or changed places.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use completion_port::{Buffer, CompletionPort, GetError, PoolOptions};

use super::{
    errors::Kind,
    meter::{Measured, Meter},
    pace::{self, Progress, Share},
    pattern::Pattern,
    plan::Plan,
    schedule::{Clock, Schedule},
};
use crate::error::plain;

/// Room for the longest datagram.
const LONGEST: usize = 1 << 16;
/// Datagrams that have come and are not looked at yet, at most.
const AT_A_TIME: usize = 256;
/// Packets that are taken at a time.
const BATCH: usize = 32;
/// How often sockets are looked after: those that wait for what was lost, and those that rest.
const TICK: Duration = Duration::from_millis(20);
/// How long a socket rests after an error.
const PAUSE: Duration = Duration::from_millis(100);
/// Datagrams to find out whether anybody answers.
const KNOCKS: u32 = 3;

/// What a packet is about. The key of a socket is its place.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A datagram has left.
    Send,
    /// One has come back.
    Recv,
}

/// The thread's port.
type Port = CompletionPort<usize, Step>;
/// A socket at it.
type Handle = completion_port::Handle<usize, Step>;
/// A packet from it.
type Done = completion_port::Completion<usize, Step>;

/// A datagram that has not come back.
#[derive(Debug)]
struct Away {
    /// Its number on its socket.
    number: u64,
    /// When it was due.
    due: Instant,
    /// When it was sent.
    sent: Instant,
}

/// One socket's part of the load.
#[derive(Debug)]
struct Lane {
    /// Its number in the run.
    number: usize,
    /// Its bytes.
    pattern: Pattern,
    /// Datagrams sent.
    started: u64,
    /// Those that are on their way, the oldest first.
    away: VecDeque<Away>,
    /// It rests until then.
    rests: Instant,
}

/// One thread's share of the load.
pub struct Worker<'a> {
    /// What all threads do.
    plan: &'a Plan,
    /// Where its completions come from.
    port: Port,
    /// Its sockets.
    sockets: Vec<Handle>,
    /// What happens on each.
    lanes: Vec<Lane>,
    /// What it measures.
    meter: Meter<'a>,
    /// When datagrams are due. `None`: none leaves.
    schedule: Option<Schedule>,
    /// Buffers of datagrams that have left.
    spare: Vec<Buffer>,
    /// Packets that have been taken.
    batch: Vec<Done>,
    /// When the sockets are next looked after.
    tick: Instant,
}

impl<'a> Worker<'a> {
    /// With all its sockets, each of which hears from the server only.
    pub fn new(plan: &'a Plan, thread: usize, meter: Meter<'a>) -> io::Result<Self> {
        let now = Instant::now();
        let lane = |number: usize| {
            let pattern = Pattern::new(number as u64);
            Lane { number, pattern, started: 0, away: VecDeque::new(), rests: now }
        };
        let lanes: Vec<_> = plan.share(thread).map(lane).collect();
        let pool = PoolOptions::new().buffer_size(plan.size.clamp(4096, LONGEST)).limit(AT_A_TIME);
        let mut builder = CompletionPort::builder().limit(1).queue_limit(plan.depth + 1).pool(pool);
        if let Some(driver) = plan.driver {
            builder = builder.driver(driver);
        }
        let port: Port = builder.build()?;
        let open = |place: usize| {
            let handle = port.associate(socket(plan.address)?, place)?;
            handle.recv_from_each(|| Step::Recv)?;
            Ok(handle)
        };
        let sockets = (0..lanes.len()).map(open).collect::<io::Result<_>>()?;
        Ok(Self {
            plan,
            port,
            sockets,
            lanes,
            meter,
            schedule: None,
            spare: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            tick: now,
        })
    }

    /// What the port runs on.
    pub fn driver(&self) -> String {
        self.port.driver().kind().to_string()
    }

    /// How many sockets there are.
    pub fn count(&self) -> usize {
        self.sockets.len()
    }

    /// Sends and receives by the clock, and tells what came of it.
    pub fn run(mut self, clock: Clock) -> io::Result<Measured> {
        pace::run(&mut self, clock)?;
        Ok(self.meter.finish())
    }

    /// Sends what there is room for and what is due.
    fn fill(&mut self, place: usize) {
        let (Some(schedule), Some(clock)) = (self.schedule, self.meter.clock) else { return };
        let size = self.plan.size;
        let lane = &mut self.lanes[place];
        while lane.away.len() < self.plan.depth {
            let now = Instant::now();
            let due = schedule.due(lane.number, lane.started, now.min(clock.last()));
            let Some(due) = due.filter(|_| lane.rests <= now) else { return };
            let mut buffer = self.spare.pop().unwrap_or_else(|| vec![0; size].into());
            lane.pattern.fill(lane.started * stride(size) * 8, buffer.as_mut_slice());
            match self.sockets[place].send(buffer, Step::Send) {
                Ok(_) => {
                    lane.away.push_back(Away { number: lane.started, due, sent: now });
                    lane.started += 1;
                }
                // So many are on their way out already: the next tick tries again.
                Err(refused) if refused.error.kind() == io::ErrorKind::WouldBlock => {
                    return self.spare.push(refused.buffer);
                }
                Err(refused) => return self.failed(place, &refused.error, "sending"),
            }
        }
    }

    /// Datagrams that have been away for too long are lost.
    fn give_up_late(&mut self, place: usize, now: Instant) {
        let lane = &mut self.lanes[place];
        let late = |away: &Away| now.duration_since(away.sent) > self.plan.timeout;
        while lane.away.front().is_some_and(late) {
            lane.away.pop_front();
            lost(&mut self.meter, lane.number);
        }
    }

    /// Goes on with the socket whose operation has completed.
    fn take(&mut self, done: Done) {
        let (place, last) = (*done.handle.key(), done.last());
        match (done.context, done.result) {
            (Step::Recv, Ok(_)) => {
                self.back(place, &done.buffer);
                // Back to the pool before anything else comes.
                drop(done.buffer);
                self.fill(place);
            }
            (Step::Send, Ok(_)) => self.spare.push(done.buffer),
            (Step::Recv, Err(error)) => {
                self.failed(place, &error, "receiving");
                if last && let Err(refused) = done.handle.recv_from_each(|| Step::Recv) {
                    self.failed(place, &refused.error, "receiving");
                }
            }
            (Step::Send, Err(error)) => self.failed(place, &error, "sending"),
        }
    }

    /// A datagram has come.
    fn back(&mut self, place: usize, bytes: &[u8]) {
        let now = Instant::now();
        let (count, lane) = (bytes.len(), &mut self.lanes[place]);
        let connection = lane.number;
        let Some(number) =
            which(lane.pattern, bytes, self.plan.size).filter(|number| *number < lane.started)
        else {
            return self.meter.failed(Kind::WrongBytes, || {
                format!("connection {connection}: a datagram of {count} bytes that came back is none of those that were sent")
            });
        };
        match lane.away.iter().position(|away| away.number == number).and_then(|at| lane.away.remove(at)) {
            Some(away) => self.meter.back(away.due, now),
            None => self.meter.failed(Kind::Unexpected, || {
                format!("connection {connection}: datagram {number} came twice, or after the time was up")
            }),
        }
    }

    /// The system refused to send, or tells of a datagram that it could not deliver.
    fn failed(&mut self, place: usize, error: &io::Error, doing: &str) {
        let lane = &mut self.lanes[place];
        // It is that one, as far as can be known: it is not counted as lost too.
        lane.away.pop_front();
        lane.rests = Instant::now() + PAUSE;
        self.meter.error(error, doing, lane.number);
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
            waits: !lane.away.is_empty(),
        })
    }

    fn pump(&mut self, place: usize, _: Instant) {
        self.fill(place);
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
            for place in 0..self.lanes.len() {
                self.give_up_late(place, now);
                self.fill(place);
            }
        }
        Ok(())
    }

    fn end(&mut self, place: usize, _: Instant) {
        let Worker { plan, lanes, meter, .. } = self;
        let lane = &mut lanes[place];
        if !plan.stop.load(Relaxed) {
            lane.away.drain(..).for_each(|_| lost(meter, lane.number));
        }
    }
}

/// Counts a datagram as lost.
fn lost(meter: &mut Meter<'_>, connection: usize) {
    meter.failed(Kind::Timeout, || {
        format!("connection {connection}: a datagram did not come back in time")
    });
}

/// Words from the beginning of one datagram in the pattern to that of the next.
fn stride(size: usize) -> u64 {
    size.div_ceil(8) as u64
}

/// Which datagram this is, if every byte of it is right.
fn which(pattern: Pattern, bytes: &[u8], size: usize) -> Option<u64> {
    let index = pattern.index_of(bytes).filter(|index| index % stride(size) == 0)?;
    let offset = index.checked_mul(8)?;
    (bytes.len() == size && pattern.check(offset, bytes).is_ok()).then_some(index / stride(size))
}

/// A socket that hears from the server only.
fn socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    Ok(socket)
}

/// Finds out whether datagrams come back from there. The error is for a person.
pub fn knock(server: SocketAddr, size: usize, timeout: Duration) -> Result<(), String> {
    let socket = socket(server)
        .and_then(|socket| socket.set_read_timeout(Some(timeout)).map(|()| socket))
        .map_err(|error| plain(&error))?;
    let mut bytes = vec![0; size];
    Pattern::new(u64::MAX).fill(0, &mut bytes);
    for _ in 0..KNOCKS {
        let answer = socket.send(&bytes).and_then(|_| socket.recv(&mut vec![0; size]));
        match answer {
            Ok(_) => return Ok(()),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            // Windows calls it a reset: of datagrams.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Err("nobody listens there".into());
            }
            Err(error) => return Err(plain(&error)),
        }
    }
    Err(format!("no datagram came back within {} s, {KNOCKS} times", timeout.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_datagram_tells_which_one_it_is(
            id: u64, number in 0..1_000_000u64, size in 8..300usize, at: prop::sample::Index, flip in 1..=255u8,
        ) {
            let pattern = Pattern::new(id);
            let mut bytes = vec![0; size];
            pattern.fill(number * stride(size) * 8, &mut bytes);
            prop_assert_eq!(which(pattern, &bytes, size), Some(number));
            prop_assert_eq!(which(pattern, &bytes[..size - 1], size), None);
            prop_assert_eq!(which(Pattern::new(id.wrapping_add(1)), &bytes, size).filter(|n| *n < 1_000_000), None);
            bytes[at.index(size)] ^= flip;
            prop_assert_eq!(which(pattern, &bytes, size).filter(|n| *n < 1_000_000), None);
        }
    }
}
