//! What went wrong, by kind.

use std::io;

use completion_port::error::Situation;
use serde::{Deserialize, Serialize};

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody listened.
    Refused,
    /// The server, or something on the way, reset the connection.
    Reset,
    /// The server closed the connection.
    Closed,
    /// Nothing came back for too long; a datagram was lost.
    Timeout,
    /// What came back is not what was sent.
    WrongBytes,
    /// More came back than was sent; a datagram came twice.
    Unexpected,
    /// Anything else: the text of the first error says what.
    Other,
}

impl Kind {
    /// What kind an error of the system is.
    pub fn of(error: &io::Error) -> Self {
        match Situation::of(error) {
            Some(Situation::ConnectionRefused) => Kind::Refused,
            Some(Situation::PeerReset) => Kind::Reset,
            Some(Situation::TimedOut) => Kind::Timeout,
            _ => Kind::Other,
        }
    }
}

/// How often what went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// All of them.
    pub total: u64,
    /// Nobody listened.
    pub refused: u64,
    /// Connections reset.
    pub reset: u64,
    /// Connections closed by the server.
    pub closed: u64,
    /// Connections on which nothing came for too long; datagrams lost.
    pub timeout: u64,
    /// Connections, or datagrams, on which something else came back than was sent.
    pub wrong_bytes: u64,
    /// More came back than was sent; datagrams that came twice or late.
    pub unexpected: u64,
    /// Anything else.
    pub other: u64,
    /// The first error in words.
    pub first: Option<String>,
}

impl Errors {
    /// Each kind, for a person, and how often it happened.
    pub fn kinds(&self) -> [(&'static str, u64); 7] {
        [
            ("connection refused", self.refused),
            ("connection reset", self.reset),
            ("closed by the server", self.closed),
            ("timed out or lost", self.timeout),
            ("wrong bytes", self.wrong_bytes),
            ("more than was sent", self.unexpected),
            ("other", self.other),
        ]
    }

    /// Counts one.
    pub fn add(&mut self, kind: Kind, text: impl FnOnce() -> String) {
        let count = match kind {
            Kind::Refused => &mut self.refused,
            Kind::Reset => &mut self.reset,
            Kind::Closed => &mut self.closed,
            Kind::Timeout => &mut self.timeout,
            Kind::WrongBytes => &mut self.wrong_bytes,
            Kind::Unexpected => &mut self.unexpected,
            Kind::Other => &mut self.other,
        };
        *count += 1;
        self.total += 1;
        self.first.get_or_insert_with(text);
    }

    /// Counts those of another thread too.
    pub fn merge(&mut self, other: Errors) {
        self.total += other.total;
        self.refused += other.refused;
        self.reset += other.reset;
        self.closed += other.closed;
        self.timeout += other.timeout;
        self.wrong_bytes += other.wrong_bytes;
        self.unexpected += other.unexpected;
        self.other += other.other;
        self.first = self.first.take().or(other.first);
    }
}
