//! What is known of each operation, by its number: that its packet has come, and how; what its cancel was told.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use completion_port::{Buffer, Completion, Handle, OpKind, error::Situation};

use crate::util::reset;

/// Its packet has come.
const CAME: u8 = 1;
/// It came as cancelled.
const CANCELLED: u8 = 2;
/// It came as out of time.
const LATE: u8 = 4;
/// The cancel was told that it found something.
const FOUND: u8 = 8;
/// The cancel was told that it was over.
const MISSED: u8 = 16;
/// It was given a deadline.
const TIMED: u8 = 32;

pub struct Ledger {
    entries: Vec<AtomicU8>,
    came: AtomicUsize,
    /// Of each kind, how many came as cancelled, and how many with a result.
    pub tally: Mutex<BTreeMap<&'static str, [usize; 2]>>,
}

impl Ledger {
    pub fn new(operations: usize) -> Self {
        let entries = (0..operations).map(|_| AtomicU8::new(0)).collect();
        Self { entries, came: AtomicUsize::new(0), tally: Mutex::default() }
    }

    pub fn cancelled(&self, number: usize, found: bool) {
        self.entries[number].fetch_or(if found { FOUND } else { MISSED }, Ordering::Relaxed);
    }

    pub fn timed(&self, number: usize) {
        self.entries[number].fetch_or(TIMED, Ordering::Relaxed);
    }

    /// How many packets have come.
    pub fn came(&self) -> usize {
        self.came.load(Ordering::Acquire)
    }

    /// What the two sides were told goes together (S88, S89): as cancelled comes only what a cancel has found, and with a result what it
    /// found in vain, or found to be over.
    pub fn check(&self) {
        for (number, entry) in self.entries.iter().enumerate() {
            let entry = entry.load(Ordering::Acquire);
            let has = |bit| entry & bit != 0;
            assert!(has(CAME), "operation {number} has no packet");
            assert!(has(FOUND) != has(MISSED), "operation {number} was cancelled once");
            assert!(has(FOUND) || !has(CANCELLED), "{number} is cancelled, and nobody was told");
            assert!(has(TIMED) || !has(LATE), "{number} had no deadline");
        }
    }
}

/// The byte that an operation's buffer is full of.
pub fn tag(number: usize) -> u8 {
    number as u8
}

/// How many buffers a thread looks at again later: long enough for the kernel to have written what it should not.
const KEPT: usize = 24;

/// One thread's packets.
pub struct Taker<'a> {
    ledger: &'a Ledger,
    /// Buffers that came back, each full of its tag, with their handles: a connection that was made is not at once over.
    kept: VecDeque<(Buffer, u8, Handle<(), usize>)>,
    tally: BTreeMap<&'static str, [usize; 2]>,
}

impl<'a> Taker<'a> {
    pub fn new(ledger: &'a Ledger) -> Self {
        Self { ledger, kept: VecDeque::new(), tally: BTreeMap::new() }
    }

    pub fn take(&mut self, mut done: Completion<(), usize>) {
        let (number, kind) = (done.context, done.kind());
        let outcome = judge(&done.result, kind);
        let before = self.ledger.entries[number].fetch_or(CAME | outcome, Ordering::Release);
        assert!(before & CAME == 0, "operation {number}, {kind}, came twice");
        self.ledger.came.fetch_add(1, Ordering::Release);
        self.tally.entry(kind.name()).or_default()[usize::from(outcome & CANCELLED == 0)] += 1;
        // Orderly ends would leave a port in TIME_WAIT each.
        if let Some(stream) = done.accepted() {
            reset(stream);
        }
        let mut buffer = done.buffer;
        let tag = tag(number);
        if matches!(kind, OpKind::Send | OpKind::Connect) {
            assert!(buffer.iter().all(|byte| *byte == tag), "what is sent is only read: {number}");
        }
        // It is the taker's now: nobody else writes to it.
        buffer.clear();
        buffer.extend_from_slice(&vec![tag; buffer.spare()]);
        self.kept.push_back((buffer, tag, done.handle));
        if self.kept.len() > KEPT {
            self.look_again();
        }
    }

    fn look_again(&mut self) {
        if let Some((buffer, tag, _)) = self.kept.pop_front() {
            let touched = buffer.iter().position(|byte| *byte != tag);
            assert!(touched.is_none(), "written after it was given back, at byte {touched:?}");
        }
    }

    pub fn end(mut self) {
        while !self.kept.is_empty() {
            self.look_again();
        }
        let mut all = self.ledger.tally.lock().expect("no panic");
        for (kind, [cancelled, done]) in self.tally {
            let sum = all.entry(kind).or_default();
            *sum = [sum[0] + cancelled, sum[1] + done];
        }
    }
}

/// Anything but what a cancel, a deadline or a peer can do is a fault: `EFAULT` most of all, the kernel's word for a buffer that is gone.
fn judge(result: &io::Result<usize>, kind: OpKind) -> u8 {
    let Err(e) = result else { return 0 };
    match Situation::of(e) {
        Some(Situation::Cancelled) => CANCELLED,
        Some(Situation::TimedOut) => LATE,
        Some(Situation::PeerReset | Situation::ConnectionRefused | Situation::Truncated) => 0,
        _ => panic!("{kind}: {e}"),
    }
}
