//! The operations on sockets, each as a method of [`Handle`](crate::Handle), and the socket that is not connected yet.

mod accept;
mod connect;
mod datagram;
mod end;
mod inline;
mod options;
mod recv;
mod send;

pub use connect::TcpSocket;
pub use inline::Started;
pub(crate) use recv::one;
