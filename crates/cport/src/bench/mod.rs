//! `cport bench`: a load generator for echo servers.
//!
//! - [`options`]: what may be asked for. [`mod@run`]: one run; [`plan`]: what its threads share, [`threads`]: what each does,
//!   [`watch`]: what the main thread does meanwhile. [`pace`]: when a thread sends, waits and ends, whatever it sends.
//! - [`tcp`], [`udp`]: one thread's share of the load. [`schedule`]: when messages are due. [`pattern`]: what is in them.
//! - [`meter`]: what a thread measures, [`errors`] among it. [`outcome`]: what it all comes to, as JSON; [`table`], [`report`]: the same for people.

mod errors;
mod figures;
mod meter;
mod options;
mod outcome;
mod pace;
mod pattern;
mod plan;
mod progress;
mod report;
mod run;
mod schedule;
mod source;
mod table;
mod tcp;
mod threads;
mod udp;
mod watch;

use std::{fs, io};

pub use self::options::Bench;
use self::outcome::Outcome;
use crate::{
    error::{Failure, plain},
    output,
};

/// What `cport help bench` says below the options.
pub const HELP: &str = "\
Closed loop: on each connection, when a message has come back, the next leaves. Open loop (--rate): messages are due at equal
distances, one connection after the other; latency counts from when a message was due, also if it could not be sent because earlier
ones had not come back, so that a server that stalls does not hide it. Every byte that comes back is compared.

  cport bench 127.0.0.1:9190                                     64 connections, 64 bytes, 10 seconds
  cport bench 127.0.0.1:9190 --rate 50000 --connections 1000     open loop
  cport bench 127.0.0.1:9190 --json > a.json                     keep the figures
  cport bench 127.0.0.1:9190 --report out.html --compare a.json  a page with this run and an earlier one
  cport bench --report out.html --compare a.json b.json          a page with earlier runs only

The address stands before --compare, which takes all the words behind it.

SIGINT and SIGTERM (on Windows: Ctrl-C and Ctrl-Break) end a run before its time; what was measured is printed. A second one ends it
at once.

Exit codes: 0 measured, and every byte was right; 1 measured, and there were errors (wrong bytes, lost connections), or something
failed; 2 nothing was measured, because the arguments were wrong or nobody listens.";

/// Measures, or makes a page of what was measured, or both.
pub fn run(options: &Bench) -> Result<(), Failure> {
    options.check()?;
    // Before the run: nobody wants to hear of a mistyped name after it.
    let mut outcomes =
        options.compare.iter().map(|path| Outcome::read(path)).collect::<Result<Vec<_>, _>>()?;
    let measured = options.measures().then(|| run::run(options)).transpose()?;
    if let Some(outcome) = &measured {
        print(&if options.json { outcome.json()? } else { table::table(outcome) })?;
        outcomes.insert(0, outcome.clone());
    }
    if let Some(path) = &options.report {
        fs::write(path, report::page(&outcomes)).map_err(|error| {
            Failure::runtime(format!(
                "cannot write the report to {}: {}",
                path.display(),
                plain(&error)
            ))
        })?;
    }
    match measured {
        Some(outcome) if outcome.errors.total > 0 => Err(Failure::silent()),
        _ => Ok(()),
    }
}

/// Prints it. That nobody reads on is no reason to complain, and none to succeed either.
fn print(text: &str) -> Result<(), Failure> {
    output::try_line(text).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(),
        _ => Failure::runtime(format!("cannot write to standard output: {}", plain(&error))),
    })
}
