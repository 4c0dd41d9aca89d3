//! The graceful stop: nothing that was read stays unechoed, every client is told the end, and it is over in time.

use std::{
    process,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use super::{Event, accept::Listeners, connection::Key, echo::Echo, report};

/// How long a connection that always has more is still echoed; after that, what comes is discarded. A quarter of the grace time
/// if that is shorter.
const ECHO_AT_MOST: Duration = Duration::from_secs(1);
/// How long connections that were cut off at the end of the grace time may take to complete.
pub const CUT_AT_MOST: Duration = Duration::from_millis(400);

/// The times of a stop.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// Until then, what a client still sends is echoed.
    pub echo_until: Instant,
    /// Then whoever is left is cut off.
    pub end_by: Instant,
}

impl Stop {
    /// A stop that begins now.
    pub fn within(grace: Duration) -> Self {
        let now = Instant::now();
        Self { echo_until: now + ECHO_AT_MOST.min(grace / 4), end_by: now + grace }
    }
}

/// Stops. Returns when every connection has ended or been cut off, and the port is closed.
///
/// A connection is either reading or busy. If it reads, the receive is cancelled: it completes with what had come, which is
/// echoed, or with nothing, and then the graceful end begins. If it is busy, the worker that takes its next packet does the same.
pub fn run(echo: Echo<'_>, mut listeners: Listeners<'_>, stop: Stop, inbox: &Receiver<Event>) {
    let server = echo.server;
    server.stop(stop);
    server.census.tell_empty();
    listeners.close();
    server.registry.each(|handle| {
        if let Key::Connection(connection) = handle.key() {
            connection.cancel_reading(server, &handle);
        }
    });
    if !wait(echo, &mut listeners, inbox, stop.end_by) {
        tracing::warn!(
            "the grace time is over: {} connections are cut off",
            server.census.seated()
        );
        server.registry.each(|handle| handle.close());
        if !wait(echo, &mut listeners, inbox, Instant::now() + CUT_AT_MOST) {
            tracing::warn!(
                "some connections did not end when they were cut off; port: {}",
                echo.port.snapshot()
            );
        }
    }
    echo.settle(echo.port.close());
}

/// Waits until nobody is left, or until `end`. Says which.
fn wait(
    echo: Echo<'_>,
    listeners: &mut Listeners<'_>,
    inbox: &Receiver<Event>,
    end: Instant,
) -> bool {
    while !(listeners.all_closed() && echo.server.census.is_empty()) {
        match inbox.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Event::AcceptEnded { listener, .. }) => listeners.closed(listener),
            Ok(Event::Unseated { stream, guest }) => listeners.admit_late(stream, guest),
            Ok(Event::Report) => report::state(echo),
            Ok(Event::Stop) => now(echo),
            // The library says itself what a worker could not do; the others go on.
            Ok(Event::Empty | Event::Room | Event::Failed(_)) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

/// Ends the process without waiting for anything: the second signal.
fn now(echo: Echo<'_>) -> ! {
    echo.server.served();
    process::exit(1);
}
