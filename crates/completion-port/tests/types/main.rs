//! What each public type does, beside the promises: a file for each type, or for a few that belong together.
//!
//! One program for all: the port is generic, and each program of tests compiles it anew. What needs a process of its own starts one
//! ([`util::child`]), or is a suite of its own beside this.

#[path = "../util/mod.rs"]
mod util;

mod addresses;
mod buffer;
mod completion;
mod driver;
mod error;
mod event;
mod half_accepted;
mod handle;
mod pool;
mod port;
mod refused;
mod snapshot;
mod timer;
