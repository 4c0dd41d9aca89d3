//! The operations on sockets, each as a method of [`Handle`](crate::Handle), and the socket that is not connected yet.

mod accept;
mod connect;
mod datagram;
mod disconnect;
mod end;
mod inline;
mod options;
mod recv;
mod send;
mod transmit_file;

pub use connect::TcpSocket;
pub use inline::Started;
