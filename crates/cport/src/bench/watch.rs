//! What the main thread does during a run: looks at the counters now and then, and says how it goes.

use std::{
    sync::{
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use super::{
    meter::Counters,
    options::Bench,
    outcome::{Interval, Seen},
    plan::Plan,
    progress::Progress,
    schedule::Clock,
    threads::Event,
};
use crate::{
    args::Address,
    error::Failure,
    sys::process::{Process, Usage},
};

/// A short run is looked at more often than once a second, so that it has a curve over time too.
const LOOKS: u32 = 10;
/// The longest and the shortest time between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// What the main thread does meanwhile.
pub struct Watch<'a> {
    /// What was asked for.
    pub options: &'a Bench,
    /// What the threads do.
    pub plan: &'a Plan,
    /// What they count.
    pub counters: &'a [Counters],
    /// The server's process.
    pub server: Option<Process>,
    /// Where it hears from them.
    pub inbox: &'a Receiver<Event>,
}

impl Watch<'_> {
    /// From the first connection to the end of the measured time.
    pub fn run(&self, address: &Address) -> Result<Seen, Failure> {
        let progress = Progress::new(self.options.quiet);
        progress.connecting(self.plan);
        let (begins, driver) = self.gather(address)?;
        let clock = Clock::start(self.options.warm_up, self.options.duration);
        for begin in begins {
            // A thread that has gone has said so.
            let _ = begin.send(clock);
        }
        progress.warming_up(self.options.warm_up);
        let mut interrupted = self.wait(clock.from);
        let load = Some(Process(std::process::id() as usize));
        let look = |process: Option<Process>| {
            process.and_then(|process| Some((process.0, process.usage().ok()?)))
        };
        let before = (look(self.server), look(load));
        let begun = Instant::now();
        let (first, errors) = self.counts();
        let mut last = (begun, first, errors);
        let every = (self.options.duration / LOOKS).clamp(LOOK.0, LOOK.1);
        let (mut timeline, mut said) = (Vec::new(), clock.from);
        for n in 1u32.. {
            let now = Instant::now();
            if interrupted || now >= clock.until {
                break;
            }
            let next = (clock.from + every * n).min(clock.until);
            interrupted = self.wait(next);
            let now = Instant::now();
            let (messages, errors) = self.counts();
            let seconds = (now - last.0).as_secs_f64().max(f64::EPSILON);
            let interval = Interval {
                at_s: (now - begun).as_secs_f64(),
                messages_per_second: (messages - last.1) as f64 / seconds,
                errors: errors - last.2,
            };
            last = (now, messages, errors);
            if now >= said + LOOK.1 || now >= clock.until {
                said += LOOK.1;
                progress.going_on(&interval, errors, self.plan.size);
            }
            timeline.push(interval);
        }
        let pair = |before: Option<(usize, Usage)>, after: Option<(usize, Usage)>| {
            before.zip(after).map(|((pid, before), (_, after))| (pid, before, after))
        };
        let seen = Seen {
            measured: last.0 - begun,
            messages: last.1 - first,
            timeline,
            interrupted,
            driver,
            server: pair(before.0, look(self.server)),
            load: pair(before.1, look(load)),
        };
        progress.over();
        Ok(seen)
    }

    /// Waits until all threads have connected.
    fn gather(&self, address: &Address) -> Result<(Vec<Sender<Clock>>, String), Failure> {
        let (mut begins, mut driver, mut connections) = (Vec::new(), String::new(), 0);
        while begins.len() < self.plan.threads {
            match self.inbox.recv() {
                Ok(Event::Ready(ready)) => {
                    let ready = ready?;
                    connections += ready.connections;
                    driver = ready.driver;
                    begins.push(ready.begin);
                }
                // The threads see it too, and are ready at once.
                Ok(Event::Interrupt | Event::Failed) => {}
                Err(_) => return Err(Failure::runtime("the threads of the load have gone")),
            }
        }
        if connections == 0 && !self.plan.stop.load(Relaxed) {
            return Err(Failure::usage(format!(
                "cannot measure {address}: no connection can be made"
            )));
        }
        Ok((begins, driver))
    }

    /// Waits until then. True if the run is to end now.
    fn wait(&self, until: Instant) -> bool {
        loop {
            if self.plan.stop.load(Relaxed) {
                return true;
            }
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Ready(_)) => {}
                Ok(Event::Interrupt | Event::Failed) => return true,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Messages and errors so far.
    fn counts(&self) -> (u64, u64) {
        let sum = |of: fn(&Counters) -> u64| self.counters.iter().map(of).sum();
        (sum(|one| one.messages.load(Relaxed)), sum(|one| one.errors.load(Relaxed)))
    }
}
