//! One connection: what it has sent, what has come back, and what is still on its way.

use std::{collections::VecDeque, time::Instant};

use completion_port::Buffer;

use super::Handle;
use crate::bench::pattern::Pattern;

/// Buffers that are kept for the next messages.
const SPARE: usize = 4;
/// The least and the most room for what comes back at a time.
const ROOM: (usize, usize) = (256, 64 * 1024);

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is none. It may be tried from then on.
    Down(Instant),
    /// It is being made.
    Opening,
    /// It is there.
    Up,
}

/// One of the connections, and the place for its successors.
#[derive(Debug)]
pub struct Lane {
    /// Its number in the run.
    pub number: usize,
    /// The socket, while there is one.
    pub handle: Option<Handle>,
    /// How many sockets there have been. A packet with another number is late and means nothing any more.
    pub generation: u32,
    /// How far it is.
    pub state: State,
    /// When something last moved on it.
    pub moved: Instant,
    /// How many messages have been started, on all its sockets.
    pub started: u64,
    /// When each of those that are on their way was due, the oldest first.
    pub waiting: VecDeque<Instant>,
    /// What the present socket sends.
    pattern: Pattern,
    /// Bytes sent on it.
    sent: u64,
    /// Bytes that have come back.
    back: u64,
    /// Buffers of earlier sends.
    spare: Vec<Vec<u8>>,
}

/// What is wrong with what has come back.
#[derive(Debug)]
pub enum Wrong {
    /// The byte at this offset of the connection.
    Byte(u64),
    /// There is more of it than was sent.
    Surplus,
}

impl Lane {
    /// A connection that is not there yet.
    pub fn new(number: usize, now: Instant) -> Self {
        Self {
            number,
            handle: None,
            generation: 0,
            state: State::Down(now),
            moved: now,
            started: 0,
            waiting: VecDeque::new(),
            pattern: Pattern::new(0),
            sent: 0,
            back: 0,
            spare: Vec::new(),
        }
    }

    /// A new socket takes the place of the last one; it is being connected.
    pub fn open(&mut self, handle: Handle, now: Instant) {
        self.handle = Some(handle);
        self.state = State::Opening;
        self.moved = now;
        // Every socket of the run has a pattern of its own, so that bytes of an earlier one are foreign too.
        self.pattern = Pattern::new((self.number as u64) << 32 | u64::from(self.generation));
        (self.sent, self.back) = (0, 0);
    }

    /// Closes the socket. What is on its way is forgotten, and packets that come for it are too.
    pub fn close(&mut self, again: Instant) {
        if let Some(handle) = self.handle.take() {
            handle.close();
        }
        self.generation = self.generation.wrapping_add(1);
        self.state = State::Down(again);
        self.waiting.clear();
    }

    /// The next `count` bytes to send.
    pub fn next(&mut self, count: usize) -> Buffer {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.resize(count, 0);
        self.pattern.fill(self.sent, &mut bytes);
        self.sent += count as u64;
        Buffer::from(bytes)
    }

    /// A send is over: its buffer can serve another.
    pub fn keep(&mut self, buffer: Buffer) {
        if self.spare.len() < SPARE {
            self.spare.push(buffer.into());
        }
    }

    /// Compares what has come back with what was sent, and tells how many messages of `size` bytes are whole with it.
    pub fn take(&mut self, bytes: &[u8], size: usize) -> Result<usize, Wrong> {
        let expected =
            usize::try_from(self.sent - self.back).unwrap_or(usize::MAX).min(bytes.len());
        self.pattern
            .check(self.back, &bytes[..expected])
            .map_err(|at| Wrong::Byte(self.back + at as u64))?;
        let partial = (self.back % size as u64) as usize;
        self.back += expected as u64;
        if expected < bytes.len() { Err(Wrong::Surplus) } else { Ok((partial + expected) / size) }
    }

    /// A buffer for what comes back.
    pub fn inbox(size: usize, depth: usize) -> Buffer {
        let (least, most) = ROOM;
        Buffer::with_capacity(size.saturating_mul(depth).clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A lane that has sent so many messages, and what it has sent.
    fn sent(size: usize, messages: usize) -> (Lane, Vec<u8>) {
        let mut lane = Lane::new(7, Instant::now());
        let mut all = Vec::new();
        for _ in 0..messages {
            let buffer = lane.next(size);
            all.extend_from_slice(&buffer);
            lane.keep(buffer);
        }
        (lane, all)
    }

    proptest! {
        #[test]
        fn messages_are_counted_however_they_are_cut(
            size in 1..200usize, messages in 1..20usize, cuts in prop::collection::vec(1..500usize, 1..50),
        ) {
            let (mut lane, all) = sent(size, messages);
            let (mut at, mut whole) = (0, 0);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let end = at + cut.min(all.len() - at);
                whole += lane.take(&all[at..end], size).expect("what was sent");
                prop_assert_eq!(whole, end / size);
                at = end;
            }
            prop_assert!(matches!(lane.take(&[0], size), Err(Wrong::Surplus)));
        }

        #[test]
        fn a_wrong_byte_is_found_wherever_the_stream_is_cut(
            size in 1..200usize, messages in 1..20usize, cut: prop::sample::Index, at: prop::sample::Index, flip in 1..=255u8,
        ) {
            let (mut lane, mut all) = sent(size, messages);
            let (cut, at) = (cut.index(all.len()), at.index(all.len()));
            all[at] ^= flip;
            let found = lane.take(&all[..cut], size).and_then(|_| lane.take(&all[cut..], size));
            prop_assert!(matches!(found, Err(Wrong::Byte(byte)) if byte == at as u64), "{found:?}");
        }
    }
}
