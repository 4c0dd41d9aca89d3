//! Completion routines and alertable waits, each rule on every driver that this machine offers.
//!
//! A test is named by its module, what it shows, and the driver: `rules::never_run_on_another_thread::readiness`. It makes threads of its
//! own, each with that driver for its routines. "S164" and the like cite the list of what Windows does (`docs/semantics.md`).
//!
//! | what | where |
//! | --- | --- |
//! | when a routine runs, where, and in which order; what it is told (S164-S170, S176, S177) | [`rules`] |
//! | waits inside routines (S173) | [`nesting`] |
//! | calls for other threads (S109, S174) | [`apc`] |
//! | `get` in its alertable form (S26, S30-S36) | [`alertable_get`] |
//! | waits for events (S169, S171, S172) | [`events`] |
//! | operations with an event, and their results (S68-S83) | [`overlapped`] |
//! | the mode of plain calls, and waits in them (S175, S178-S182) | [`socket`] |
//! | sockets that have a port (S10, S11, S167) | [`association`] |
//! | bytes and packets in order, whole sends, vectored and lent buffers, the graceful end | [`order`] |
//! | AcceptEx, ConnectEx, DisconnectEx, TransmitFile | [`extensions`] |
//! | cancel and close, also by a routine; panics (S85-S95) | [`cancel`], [`close`], [`panics`] |
//! | threads that end (S105, S109) | [`thread_end`] |
//! | datagrams (S96, S129, S131, S134) | [`datagrams`] |
//! | timers and deadlines | [`timer`] |
//! | one socket of several threads | [`shared`] |
//! | files; streams of the Unix domain | [`files`]; [`unix`] |
//! | an idle thread | [`idle`] |
//! | all of it at once | [`storm`] |

#![cfg(any(target_os = "linux", windows))]

#[path = "../util/mod.rs"]
mod util;

mod kit;

mod alertable_get;
mod apc;
mod association;
mod cancel;
mod close;
mod datagrams;
mod events;
mod extensions;
mod files;
#[cfg(target_os = "linux")]
mod idle;
mod nesting;
mod order;
mod overlapped;
mod panics;
mod rules;
mod shared;
mod socket;
mod storm;
mod thread_end;
mod timer;
#[cfg(target_os = "linux")]
mod unix;
