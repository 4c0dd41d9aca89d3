#![doc = include_str!("../README.md")]
#![deny(missing_docs, missing_debug_implementations, unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod buffer;
pub mod error;
pub mod event;
mod fs;
mod handle;
mod net;
mod operation;
mod pause;
mod port;
pub mod routine;
mod schedule;
mod sys;

pub use buffer::{Buffer, PoolOptions, PoolSnapshot};
pub use handle::{HalfAccepted, Handle, NotAssociated, Source, TimerId};
pub use net::{Started, TcpSocket};
pub use operation::{Addresses, Completion, OpId, OpKind, Refused};
pub use port::{Builder, CloseOnDrop, CompletionPort, GetError, InFlight, Snapshot};
pub use schedule::{Counters, Release, Waking, blocking};
pub use sys::{
    choose::{DRIVER_VARIABLE, DriverChoice, DriverKind, Probed, Rung, probe},
    thread_state::Observation,
};

#[cfg(feature = "simulated")]
pub use sys::simulated::api as simulated;
