//! How a port schedules its threads, each rule on every driver that this machine offers.
//!
//! A test is named by its module, what it shows, and the driver: `lifo::the_newest_waiter_comes_first::readiness`. "S41" and the like
//! cite the list of what Windows does (`docs/semantics.md`); the promises are those that CONTRIBUTING tells.
//!
//! | what | where |
//! | --- | --- |
//! | promise 5: at most so many run, under each policy (S47) | [`limit`] |
//! | a worker that blocks gives up its place, S56 in full (S47, S49, S51, S56) | [`blocked`] |
//! | promise 6: newest thread, oldest packet, hand-off (S41-S43, S48), and who counts (S52-S55, S58) | [`lifo`] |
//! | waking late | [`late`] |
//! | threads that exit and panic (S54, S106) | [`workers`] |
//! | promise 8: idle is free, also beside a worker that blocks for ever | [`idle`] |
//! | promise 7: nothing waits for a worker that burns the processor | [`burning`] |
//! | several drivers, and fewer threads than those | [`drivers`] |
//! | a flood does not starve the quiet | [`fairness`] |
//!
//! Linux only is what /proc has to tell ([`idle`]: that no thread moves) and what needs userfaultfd (a page fault that lasts). Where a
//! system tells nothing of blocked threads (Wine), what a port can only see for itself is skipped, and said to be.

#![cfg(any(target_os = "linux", windows))]

#[path = "../util/mod.rs"]
mod util;

mod kit;

mod blocked;
mod burning;
mod drivers;
mod fairness;
#[cfg(target_os = "linux")]
mod held_page;
#[cfg(target_os = "linux")]
mod idle;
mod late;
mod lifo;
mod limit;
mod workers;
