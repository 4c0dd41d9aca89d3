//! Lines on standard output, for people and for scripts.

use std::io::{self, Write};

/// Writes one line and flushes it, so that a script that waits for it has it at once.
///
/// A reader that has gone away does not stop a server: the line is then lost, and only another kind of failure is logged.
pub fn line(text: &str) {
    if let Err(error) = try_line(text)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!("cannot write to standard output: {error}");
    }
}

/// Writes `text`, a newline behind it, and flushes.
pub fn try_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
