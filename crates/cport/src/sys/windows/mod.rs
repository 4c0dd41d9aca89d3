//! Windows.
#![expect(unsafe_code, reason = "the only way to call the system")]

pub mod limits;
pub mod machine;
pub mod process;
pub mod signals;
pub mod sockets;
pub mod terminal;
