//! A listener that nobody gets in to.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A listener whose backlog is full lets the next ones wait; its address, and what fills it.
pub fn busy_listener() -> (Socket, SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into())
        .expect("a free port");
    listener.listen(0).expect("listening");
    let address = listener.local_addr().expect("bound").as_socket().expect("an IP address");
    let mut fillers = Vec::new();
    loop {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // As long as there is room, connecting over loopback takes no time.
        let full =
            filler.connect_timeout(&address.into(), std::time::Duration::from_millis(200)).is_err();
        fillers.push(filler);
        if full {
            return (listener, address, fillers);
        }
        assert!(fillers.len() < 50, "the backlog has no end");
    }
}
