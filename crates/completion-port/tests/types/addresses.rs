//! `Addresses`: both ends of an accepted connection, also in the other family, and of a peer that has gone.

use std::net::{TcpListener, TcpStream};

use crate::util::{get, reset};
use completion_port::{Addresses, CompletionPort};

#[test]
fn are_those_of_the_connection() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        // A machine may have no IPv6.
        let Ok(listener) = TcpListener::bind(at) else { continue };
        let address = listener.local_addr().expect("bound");
        let port = CompletionPort::<(), ()>::new().expect("a port");
        port.associate(listener, ()).expect("associated").accept(()).expect("started");
        let client = TcpStream::connect(address).expect("connected");
        let peer = client.local_addr().expect("connected");
        let done = get(&port);
        assert_eq!(done.addresses(), Some(Addresses { local: address, peer }));
        // What came with the connection is known for good.
        reset(client);
        crate::util::until("it is reset", || {
            done.addresses() == Some(Addresses { local: address, peer })
        });
    }
}

#[test]
fn are_none_where_no_connection_came() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    port.key(()).post(0, ()).expect("open");
    assert_eq!(get(&port).addresses(), None);
}
