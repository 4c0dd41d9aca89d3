//! The programs. They look into /proc, wait on epoll and install seccomp filters, so they are for Linux: what they check elsewhere is a
//! server that runs under Linux too, or that they reach over the network from there.

mod arrival;
mod clients;
pub mod crowd;
pub mod datagrams;
pub mod deny;
pub mod idle;
mod limits;
pub mod ping;
mod process;
pub mod stop;
pub mod storm;
pub mod toy;
