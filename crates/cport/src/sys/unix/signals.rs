//! Signals, as calls of a closure.

use std::{io, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};

use crate::sys::Signal;

/// From now on `tell` hears of those that are wanted, until it says that nobody wants to know any more.
///
/// The thread for it sleeps in a read until a signal comes.
pub fn listen(
    wanted: &[Signal],
    mut tell: impl FnMut(Signal) -> bool + Send + 'static,
) -> io::Result<()> {
    let numbers = wanted.iter().flat_map(|signal| match signal {
        Signal::Stop => &[SIGINT, SIGTERM][..],
        Signal::Report => &[SIGUSR1],
    });
    let mut signals = Signals::new(numbers)?;
    let run = move || {
        for number in signals.forever() {
            let signal = if number == SIGUSR1 { Signal::Report } else { Signal::Stop };
            if !tell(signal) {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(run)?;
    Ok(())
}
