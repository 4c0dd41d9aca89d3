//! A storm of cancels against completions: of every operation the end and the cancel are on their way at the same time.
//!
//! Threads start operations of all kinds and cancel each once: at once, a little later, or from whichever thread comes by. No run is like
//! another; the seed only says what was tried. Watched are: each packet comes once; what a cancel was told and how the operation ends go
//! together; no buffer is written after it was given back ([`ledger`]; and, where freed pages are guarded, no `EFAULT`); no descriptor
//! is left.
//!
//! `COMPLETION_PORT_CANCELS` says how many (a million in `ci/cancels`), `COMPLETION_PORT_SEED` where the seeds begin.

mod field;
mod ledger;

use std::{
    collections::BTreeMap,
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Mutex,
    thread,
    time::Duration,
};

use completion_port::{CompletionPort, DriverKind, GetError, PoolOptions};

use self::{
    field::{Field, Nowhere, Pending, Port},
    ledger::{Ledger, Taker},
};
use super::{assert_nothing_left, child::alone, connection, open, proc::open_descriptors, until};

/// Cancels in a round, which has a port and a seed of its own.
const ROUND: usize = 20_000;
const ACTORS: usize = 4;
const TAKERS: usize = 2;
/// Packets that may be owed: a queue that only grows would have the races in it wait for their turn.
const OWED: usize = 400;
/// Operations that wait for a thread that comes by.
const POCKET: usize = 40;

fn number(name: &str) -> Option<usize> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}: {value} is no number")))
}

/// How many there are to be.
pub fn asked() -> usize {
    number("COMPLETION_PORT_CANCELS").unwrap_or(4_000)
}

pub struct Rng(u64);

impl Rng {
    fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }
}

/// All rounds, in a process of their own: its descriptors are counted. Every buffer has `room` bytes at least, and those that the pool lends
/// are guarded if `guard` says so.
pub fn storm(driver: DriverKind, room: usize, guard: bool) {
    alone(|| {
        // What a process opens once.
        drop((open::<(), ()>(driver), connection()));
        let nowhere = Nowhere::new();
        let before = open_descriptors();
        let first = number("COMPLETION_PORT_SEED").unwrap_or(1);
        let mut tally = BTreeMap::new();
        let (mut left, mut seed) = (asked(), first);
        while left > 0 {
            let cancels = left.min(ROUND);
            let round = || {
                let pool = PoolOptions::new().limit(64).buffer_size(8192).guard(guard);
                let port = CompletionPort::builder().driver(driver).pool(pool).limit(4);
                Round::new(&port.build().expect("a port"), seed, cancels).run(&nowhere, room)
            };
            let round = catch_unwind(AssertUnwindSafe(round)).unwrap_or_else(|panic| {
                eprintln!("\nround failed: COMPLETION_PORT_SEED={seed} COMPLETION_PORT_CANCELS={cancels}\n");
                resume_unwind(panic)
            });
            for (kind, [cancelled, done]) in round {
                let sum: &mut [usize; 2] = tally.entry(kind).or_default();
                *sum = [sum[0] + cancelled, sum[1] + done];
            }
            assert_eq!(open_descriptors(), before, "seed {seed}: no descriptor is left");
            (left, seed) = (left - cancels, seed + 1);
        }
        println!("{driver}: [cancelled, with a result]: {tally:?}");
        // A race that one side always wins is none.
        let won = tally.values().fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
        assert!(won.iter().all(|won| *won >= asked() / 20), "{won:?}");
    });
}

struct Round<'a> {
    port: &'a Port,
    seed: usize,
    cancels: usize,
    ledger: Ledger,
    pocket: Mutex<Vec<Pending>>,
}

impl<'a> Round<'a> {
    fn new(port: &'a Port, seed: usize, cancels: usize) -> Self {
        Self { port, seed, cancels, ledger: Ledger::new(cancels), pocket: Mutex::default() }
    }

    fn run(self, nowhere: &Nowhere, room: usize) -> BTreeMap<&'static str, [usize; 2]> {
        let field = Field::new(self.port, nowhere, room);
        thread::scope(|s| {
            let _close = self.port.close_on_drop();
            let takers: Vec<_> = (0..TAKERS).map(|_| s.spawn(|| self.take())).collect();
            let (this, field) = (&self, &field);
            let actors: Vec<_> =
                (0..ACTORS).map(|actor| s.spawn(move || this.act(actor, field))).collect();
            actors.into_iter().for_each(|actor| actor.join().expect("no panic"));
            let pocket = std::mem::take(&mut *self.pocket.lock().expect("no panic"));
            pocket.into_iter().for_each(|pending| self.cancel(pending, false));
            until("every packet has come", || self.ledger.came() == self.cancels);
            assert_nothing_left(self.port);
            assert_eq!(self.port.close().len(), 0, "nothing was left for the close");
            // The scope would not wait until they are gone: one that leaves the port as it exits may keep it for a moment.
            takers.into_iter().for_each(|taker| taker.join().expect("no panic"));
        });
        drop(field);
        self.ledger.check();
        let snapshot = self.port.snapshot();
        assert_eq!((snapshot.pool.lent, snapshot.leaked, snapshot.timers), (0, 0, 0), "{snapshot}");
        self.ledger.tally.into_inner().expect("no panic")
    }

    fn take(&self) {
        let mut taker = Taker::new(&self.ledger);
        loop {
            match self.port.get() {
                Ok(done) => taker.take(done),
                Err(GetError::Closed) => break,
                Err(e) => panic!("{e}"),
            }
        }
        taker.end();
    }

    /// Starts a share of the operations. Every other actor is a worker too: it has a driver of its own, and others cancel what is there.
    fn act(&self, actor: usize, field: &Field<'_>) {
        let mut rng = Rng::new(self.seed * ACTORS + actor);
        let mut taker = Taker::new(&self.ledger);
        for number in (actor..self.cancels).step_by(ACTORS) {
            while number > self.ledger.came() + OWED {
                thread::yield_now();
            }
            let pending = field.start(number, &mut rng);
            if rng.below(16) == 0 && pending.expire(Duration::from_micros(rng.below(500) as u64)) {
                self.ledger.timed(number);
            }
            match rng.below(6) {
                0 => self.cancel(pending, rng.below(4) == 0),
                1 => {
                    (0..rng.below(3000)).for_each(|_| std::hint::spin_loop());
                    self.cancel(pending, rng.below(4) == 0);
                }
                2 => {
                    thread::yield_now();
                    self.cancel(pending, false);
                }
                _ => {
                    if let Some(another) = self.swap(pending, &mut rng) {
                        self.cancel(another, false);
                    }
                }
            }
            if actor % 2 == 1
                && rng.below(3) == 0
                && let Ok(done) = self.port.get_timeout(Duration::ZERO)
            {
                taker.take(done);
            }
        }
        taker.end();
    }

    /// Leaves it to whoever comes by, and takes another one, when there are enough.
    fn swap(&self, pending: Pending, rng: &mut Rng) -> Option<Pending> {
        let mut pocket = self.pocket.lock().expect("no panic");
        pocket.push(pending);
        (pocket.len() > POCKET).then(|| {
            let which = rng.below(pocket.len());
            pocket.swap_remove(which)
        })
    }

    fn cancel(&self, pending: Pending, twice: bool) {
        self.ledger.cancelled(pending.number, pending.cancel());
        // S88.
        assert!(!(twice && pending.cancel()), "a second cancel has found {}", pending.number);
    }
}
