//! Signals, as events of the main thread.

use std::{io, sync::mpsc::Sender};

use super::Event;
use crate::sys::{Signal, signals};

/// From now on those to stop are [`Event::Stop`], and those to report are [`Event::Report`].
pub fn forward(events: Sender<Event>) -> io::Result<()> {
    signals::listen(&[Signal::Stop, Signal::Report], move |signal| {
        let event = match signal {
            Signal::Stop => Event::Stop,
            Signal::Report => Event::Report,
        };
        events.send(event).is_ok()
    })
}
