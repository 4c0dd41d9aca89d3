//! Signals, as events of the main thread.

use std::{io, sync::mpsc::Sender};

use super::Event;

/// From now on SIGTERM and SIGINT are [`Event::Stop`], and SIGUSR1 is [`Event::Report`].
///
/// The thread for it sleeps in a read until a signal comes.
#[cfg(unix)]
pub fn forward(events: Sender<Event>) -> io::Result<()> {
    use signal_hook::{
        consts::{SIGINT, SIGTERM, SIGUSR1},
        iterator::Signals,
    };

    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    let run = move || {
        for signal in signals.forever() {
            let event = if signal == SIGUSR1 { Event::Report } else { Event::Stop };
            if events.send(event).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(run)?;
    Ok(())
}

/// Systems without signals end the process themselves.
#[cfg(not(unix))]
pub fn forward(events: Sender<Event>) -> io::Result<()> {
    // The main thread waits as long as a sender is left; without signals nothing else would hold one when nobody is connected.
    std::mem::forget(events);
    Ok(())
}
