//! The queues that are compared: a completion port that is posted to, and unbounded channels. A number goes through each.

use std::io;

use completion_port::{Completion, DriverKind, Handle};

use crate::{Outcome, Port};

/// A queue of many producers and many consumers.
pub trait Queue: Sync {
    /// Puts a number in.
    ///
    /// # Errors
    ///
    /// The queue is closed.
    fn put(&self, number: u64) -> Outcome<()>;

    /// Takes the oldest out, and waits for one.
    ///
    /// # Errors
    ///
    /// The queue is closed.
    fn take(&self) -> Outcome<u64>;
}

/// A port and a key to post from.
pub struct Posts {
    pub port: Port,
    key: Handle<(), u64>,
}

impl Posts {
    /// # Errors
    ///
    /// The driver is not to be had here.
    pub fn new(driver: DriverKind) -> io::Result<Self> {
        Ok(crate::port(driver)?.into())
    }

    /// Takes what is there, at most `max`, and adds it to `batch`.
    ///
    /// # Errors
    ///
    /// The port is closed.
    pub fn take_many(&self, batch: &mut Vec<Completion<(), u64>>, max: usize) -> Outcome<usize> {
        Ok(self.port.get_many(batch, max, None)?)
    }
}

impl From<Port> for Posts {
    fn from(port: Port) -> Self {
        let key = port.key(());
        Self { port, key }
    }
}

impl Queue for Posts {
    fn put(&self, number: u64) -> Outcome<()> {
        Ok(self.key.post(0, number).map_err(|refused| refused.error)?)
    }

    fn take(&self) -> Outcome<u64> {
        Ok(self.port.get()?.context)
    }
}

/// crossbeam-channel's unbounded channel.
pub struct Crossbeam(crossbeam_channel::Sender<u64>, pub crossbeam_channel::Receiver<u64>);

impl Default for Crossbeam {
    fn default() -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Self(sender, receiver)
    }
}

impl Queue for Crossbeam {
    fn put(&self, number: u64) -> Outcome<()> {
        Ok(self.0.send(number)?)
    }

    fn take(&self) -> Outcome<u64> {
        Ok(self.1.recv()?)
    }
}

/// flume's unbounded channel.
pub struct Flume(flume::Sender<u64>, pub flume::Receiver<u64>);

impl Default for Flume {
    fn default() -> Self {
        let (sender, receiver) = flume::unbounded();
        Self(sender, receiver)
    }
}

impl Queue for Flume {
    fn put(&self, number: u64) -> Outcome<()> {
        Ok(self.0.send(number)?)
    }

    fn take(&self) -> Outcome<u64> {
        Ok(self.1.recv()?)
    }
}
