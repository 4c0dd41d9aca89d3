//! The lines that the server prints. Each is made of words that a script can pick out: `key=value`.

use super::{Server, echo::Echo};
use crate::output;

/// Prints how things stand, in one line: the answer to SIGUSR1.
pub fn state(echo: Echo<'_>) {
    let totals = echo.server.totals();
    let closed = echo.server.census.closed();
    // The counts are read one after the other while workers run: a connection may end in between.
    let open = totals.accepted.saturating_sub(closed);
    let snapshot = echo.port.snapshot().to_string();
    let snapshot: Vec<_> = snapshot.split_whitespace().collect();
    output::line(&format!(
        "open={open} accepted={} closed={closed} read={} sent={} errors={} port: {}",
        totals.accepted,
        totals.read,
        totals.sent,
        totals.errors,
        snapshot.join(" ")
    ));
}

/// Prints what was done in all: the last line.
pub fn served(server: &Server) {
    if server.quiet {
        return;
    }
    let totals = server.totals();
    output::line(&format!(
        "served: accepted={} closed={} read={} sent={} reset={} unsent={} discarded={}",
        totals.accepted,
        server.census.closed(),
        totals.read,
        totals.sent,
        totals.reset,
        totals.unsent,
        totals.discarded
    ));
}
