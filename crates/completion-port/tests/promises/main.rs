//! The promises of the library (CONTRIBUTING tells them), each on every driver that this machine offers.
//!
//! A test is named by its promise, what it shows, and the driver: `order::receives_fill_in_call_order::readiness`. Where a driver cannot
//! be had it is named, with the reason; `COMPLETION_PORT_DRIVER` forces one, and then only that one is tested. "S18" and the like cite
//! the list of what Windows does.
//!
//! | promise | where |
//! | --- | --- |
//! | 1 any thread, any handle | [`any_thread`] |
//! | 2 exactly one completion, the same refusals | [`one_packet`], [`inline`], [`races`], [`storm`], [`cancel_storm`], [`refusals`] |
//! | 3 order | [`order`], [`posts`] |
//! | 4 whole sends | [`whole_sends`] |
//! | 5 the limit, 6 LIFO threads and FIFO packets, 7 nothing stranded | the suite `schedule` |
//! | 8 idle is free | [`idle`], [`timeouts`], [`signals`] |
//! | 9 cancel, close, drop, panic, thread exit | [`cancel`], [`close`], [`end`], [`panics`], [`thread_exit`], [`descriptors`], [`leaks`], [`pool`] |
//! | 10 drivers are equal | [`drivers`], and that all of this runs on each |
//!
//! What sockets do, beside the promises: [`streams`], [`datagrams`], [`accept`], [`accept_with`], [`out_of_descriptors`], [`connect`],
//! [`connect_with`], [`shutdown`], [`disconnect`], [`transmit_file`], [`associate`], [`broadcast`], [`batches`], [`many`], [`crowd`], [`inline`]; and
//! others: [`files`], [`files_end`], `files_cost`, [`pipes`], [`unix`]. Timers: [`timers`], `timers_idle`, and deadlines of operations: [`deadlines`].

#![cfg(any(target_os = "linux", windows))]

#[path = "../util/mod.rs"]
mod util;

mod accept;
mod accept_with;
mod any_thread;
mod associate;
mod batches;
mod broadcast;
mod cancel;
mod cancel_storm;
mod close;
mod connect;
mod connect_with;
mod corners;
mod crowd;
mod datagrams;
mod deadlines;
mod descriptors;
mod disconnect;
#[cfg(target_os = "linux")]
mod drivers;
mod end;
mod files;
#[cfg(target_os = "linux")]
mod files_cost;
mod files_end;
#[cfg(target_os = "linux")]
mod idle;
mod inline;
#[cfg(target_os = "linux")]
mod interference;
mod large;
mod leaks;
mod many;
mod one_packet;
mod order;
#[cfg(target_os = "linux")]
mod out_of_descriptors;
mod panics;
#[cfg(target_os = "linux")]
mod pipes;
mod pool;
mod posts;
mod races;
mod refusals;
mod shutdown;
#[cfg(target_os = "linux")]
mod signals;
mod storm;
mod streams;
mod thread_exit;
mod timeouts;
mod timers;
#[cfg(target_os = "linux")]
mod timers_idle;
mod transmit_file;
#[cfg(target_os = "linux")]
mod unix;
mod whole_sends;
