//! The lines that the server prints. Each is made of words that a script can pick out: `key=value`.

use completion_port::CompletionPort;

use super::{echo::Echo, tally::Totals};
use crate::output;

/// Prints how things stand, in one line: the answer to SIGUSR1, or Ctrl-Break.
pub fn state(echo: Echo<'_>) {
    let snapshot = echo.port.snapshot().to_string();
    let snapshot: Vec<_> = snapshot.split_whitespace().collect();
    let counts = counts(&echo.server.totals(), echo.server.census.closed());
    output::line(&format!("{counts} port: {}", snapshot.join(" ")));
}

/// The same where completion routines serve: there is no port to tell of.
pub fn routines(totals: &Totals, closed: u64) {
    output::line(&counts(totals, closed));
}

/// What has been counted.
fn counts(totals: &Totals, closed: u64) -> String {
    // The counts are read one after the other while workers run: a connection may end in between.
    let open = totals.accepted.saturating_sub(closed);
    format!(
        "open={open} accepted={} closed={closed} read={} sent={} errors={}",
        totals.accepted, totals.read, totals.sent, totals.errors
    )
}

/// Prints what the port's scheduling has done: the last line but one.
pub fn scheduling<K: Send + Sync, T: Send>(port: &CompletionPort<K, T>) {
    output::line(&format!("scheduling: {}", port.snapshot().scheduling));
}

/// Prints what was done in all: the last line.
pub fn served(totals: &Totals, closed: u64) {
    output::line(&format!(
        "served: accepted={} closed={closed} read={} sent={} reset={} unsent={} discarded={} idle={}",
        totals.accepted,
        totals.read,
        totals.sent,
        totals.reset,
        totals.unsent,
        totals.discarded,
        totals.idle
    ));
}
