//! How it goes, on standard error while it runs.

use std::{
    cell::Cell,
    io::{self, Write},
    time::Duration,
};

use super::{
    figures::{count, of, per_second},
    outcome::Interval,
    plan::Plan,
};
use crate::sys::terminal;

/// One line that is written over and over on a terminal; elsewhere a line each time.
pub struct Progress {
    /// Nothing is said.
    quiet: bool,
    /// It goes to a terminal.
    terminal: bool,
    /// There is a line to write over.
    dirty: Cell<bool>,
}

impl Progress {
    /// Says nothing yet.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, terminal: terminal::can_erase(), dirty: Cell::new(false) }
    }

    /// Connections are being made.
    pub fn connecting(&self, plan: &Plan) {
        self.say(&format!("{} with {}", plan.address, of(plan.connections, "connection")));
    }

    /// Nothing is measured yet.
    pub fn warming_up(&self, time: Duration) {
        if !time.is_zero() {
            self.say(&format!("warming up for {} s", time.as_secs_f64()));
        }
    }

    /// What the last second brought.
    pub fn going_on(&self, interval: &Interval, errors: u64, size: usize) {
        self.say(&format!(
            "{:4.0} s: {}, {} errors",
            interval.at_s,
            per_second(interval.messages_per_second, size),
            count(errors)
        ));
    }

    /// Leaves a terminal as it was.
    pub fn over(&self) {
        if self.dirty.take() {
            // Nobody is left to hear that standard error is closed; so too below.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// Says a line.
    fn say(&self, line: &str) {
        if self.quiet {
        } else if self.terminal {
            self.dirty.set(true);
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        } else {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}
