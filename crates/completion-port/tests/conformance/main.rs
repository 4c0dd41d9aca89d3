//! What Windows does, line by line, as statements about this crate: one suite for every system and driver.
//!
//! `docs/semantics.md` lists the lines (S1 to S193) and says how each is kept. Here they are written against the public API alone, in small
//! tests that know nothing of the system below: the same files run on Linux, on each of its drivers, and on Windows. What such a run
//! shows is a table, `docs/conformance.md`, and `ci/conformance` makes it.
//!
//! - Each chapter of the list has a file, which opens with its table: a test, the lines it proves, what it asserts.
//! - [`run`]: a test is run on a driver, and its outcome is kept. [`table`]: how tests are registered, and what all of them must obey.
//! - [`exceptions`]: what Wine is known not to do. [`sys`]: all that depends on the system.
//! - [`kit`]: ports, connections, waits. [`thread_kit`]: threads that take step by step. [`routine_kit`]: threads with completion routines.
//!
//! Nothing is asserted about how fast something is. What must come is waited for, with a generous deadline; what must not come is told by
//! what comes behind it, or by what is there when everything else has been taken.

#[path = "../util/mod.rs"]
mod util;

#[macro_use]
mod table;
mod exceptions;
mod kit;
mod routine_kit;
#[path = "../routine/kit.rs"]
#[allow(dead_code, reason = "the suite of routines uses all of it")]
mod routine_threads;
mod run;
mod sys;
mod thread_kit;

mod accept;
mod cancelling;
mod closing;
mod connect;
mod datagrams;
mod errors;
mod events;
mod exits;
mod files;
mod mode;
mod packets;
mod port;
mod posting;
mod routines;
mod streams;
mod taking;
mod threads;

/// Every chapter, in the order of the list.
const CHAPTERS: &[&[&table::Test]] = &[
    port::TESTS,
    taking::TESTS,
    posting::TESTS,
    threads::TESTS,
    packets::TESTS,
    events::TESTS,
    errors::TESTS,
    cancelling::TESTS,
    closing::TESTS,
    exits::TESTS,
    streams::TESTS,
    datagrams::TESTS,
    accept::TESTS,
    connect::TESTS,
    files::TESTS,
    routines::TESTS,
    mode::TESTS,
];
