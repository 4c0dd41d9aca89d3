//! `Handle`, `OpId`, `Source`, `NotAssociated` and `TcpSocket`: what the promises do not say.

use std::{
    cell::Cell,
    collections::HashSet,
    error::Error,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use crate::util::{connection, get, pair, sys};
use completion_port::{
    Buffer, CompletionPort, Handle, NotAssociated, OpId, TcpSocket, simulated::Network,
};
use socket2::SockRef;

#[test]
fn is_one_pointer_and_goes_anywhere() {
    const fn shared<T: Send + Sync>() {}
    // A context of no use to two threads at once, as in the port.
    const { shared::<Handle<Arc<()>, Cell<u8>>>() }
    const { shared::<OpId>() }
    const { assert!(size_of::<Handle<String, String>>() == size_of::<usize>()) }
    const { assert!(size_of::<Option<Handle<String, String>>>() == size_of::<usize>()) }
}

#[test]
fn clones_name_the_same_association() {
    let port = CompletionPort::<&str, ()>::new().expect("a port");
    let (server, _client) = pair(&port, "key");
    let (other, _other_client) = pair(&port, "key");
    let clone = server.clone();
    assert!(clone == server && server != other, "by the socket, not by the key");
    assert_eq!((*clone.key(), port.snapshot().handles), ("key", 2));
    clone.post(0, ()).expect("open");
    assert!(get(&port).handle == server);
    let text = format!("{server:?} {:?}", port.key("bare"));
    assert!(text.contains("key") && text.contains("bare") && text.contains("Stream"), "{text}");
}

#[test]
fn a_key_has_no_socket() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let key = port.key(());
    assert!(sys::socket_of(&key).is_none());
    for result in [
        key.local_addr().map(drop),
        key.peer_addr().map(drop),
        key.set_nodelay(true),
        key.set_keepalive(true),
    ] {
        assert_eq!(result.expect_err("no socket").kind(), io::ErrorKind::InvalidInput);
    }
    key.close();
    assert_eq!(key.cancel_all(), 0);
}

#[test]
fn options_reach_the_socket() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let (server, client) = pair(&port, ());
    let socket = sys::socket_of(&server).expect("a socket");
    let socket = socket.sock_ref();
    for on in [true, false] {
        server.set_nodelay(on).expect("an option");
        server.set_keepalive(on).expect("an option");
        assert_eq!(
            (socket.tcp_nodelay().expect("an option"), socket.keepalive().expect("an option")),
            (on, on)
        );
    }
    server.set_linger(Some(Duration::from_secs(3))).expect("an option");
    assert_eq!(socket.linger().expect("an option"), Some(Duration::from_secs(3)));
    server.set_linger(None).expect("an option");
    assert_eq!(socket.linger().expect("an option"), None);
    // The kernel doubles what it is given, and has a minimum.
    server.set_recv_buffer_size(50_000).expect("an option");
    server.set_send_buffer_size(60_000).expect("an option");
    assert!(socket.recv_buffer_size().expect("an option") >= 50_000);
    assert!((60_000..1_000_000).contains(&socket.send_buffer_size().expect("an option")));
    assert_eq!(server.local_addr().expect("connected"), client.peer_addr().expect("connected"));
    assert_eq!(server.peer_addr().expect("connected"), client.local_addr().expect("connected"));
}

#[test]
fn ids_are_never_used_twice() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let (server, _client) = pair(&port, ());
    let mut ids = HashSet::new();
    for _ in 0..10 {
        let id = server.recv_lent(()).expect("started");
        assert!(ids.insert(id), "{id:?}");
        assert!(server.cancel(id));
        get(&port).result.expect_err("cancelled");
        ids.iter().for_each(|id| assert!(!server.cancel(*id), "all of them are over"));
        assert!(
            ids.insert(server.send(vec![1].into(), ()).expect("started")),
            "the other direction's are others"
        );
        get(&port).result.expect("sent");
    }
}

#[test]
fn an_unconnected_socket_is_a_source_and_a_descriptor() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let socket = TcpSocket::new(&any).expect("a socket");
    socket.bind(&any).expect("a free port");
    let bound = SockRef::from(&socket).local_addr().expect("bound");
    socket.bind(&any).expect_err("it is bound already");
    let owned: sys::OwnedSocket = socket.into();
    let socket = TcpSocket::from(owned);
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let handle = port.associate(socket, ()).expect("associated");
    assert_eq!(Some(handle.local_addr().expect("bound")), bound.as_socket());
    // One that is connected already is as good as a stream.
    let (server, _client) = connection();
    let handle =
        port.associate(TcpSocket::from(sys::OwnedSocket::from(server)), ()).expect("associated");
    handle.send(vec![1].into(), ()).expect("started");
    get(&port).result.expect("sent");
}

#[test]
fn an_ipv6_socket_is_made_for_an_ipv6_address() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        crate::util::say("skipped: no IPv6 here");
        return;
    };
    let address = listener.local_addr().expect("bound");
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let handle =
        port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("associated");
    handle.connect(address, ()).expect("started");
    get(&port).result.expect("connected");
    assert_eq!(handle.peer_addr().expect("connected"), address);
}

#[test]
fn a_refused_association_is_an_error_that_gives_back() {
    let port = CompletionPort::<String, ()>::new().expect("a port");
    port.close();
    let (server, client) = connection();
    let refused: NotAssociated<TcpStream, String> =
        port.associate(server, "key".to_owned()).expect_err("closed");
    assert_eq!(refused.to_string(), "the socket was not associated: the completion port is closed");
    assert!(refused.source().is_some() && format!("{refused:?}").contains("closed"));
    assert_eq!(
        refused.source.peer_addr().expect("connected"),
        client.local_addr().expect("connected")
    );
    assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::NotConnected);
    // Whatever the key: it need not be printable.
    struct Silent;
    fn try_to(port: &CompletionPort<Silent, ()>) -> Result<(), Box<dyn Error>> {
        port.associate(connection().0, Silent)?;
        Ok(())
    }
    let port = CompletionPort::new().expect("a port");
    try_to(&port).expect("associated");
    port.close();
    try_to(&port).expect_err("closed");
}

/// A simulated socket on a real port, or the other way round, is refused and comes back.
#[test]
fn networks_do_not_mix() {
    let network = Network::new(1);
    let simulated: CompletionPort<u8, ()> =
        CompletionPort::builder().simulated(&network).build().expect("a port");
    let real = CompletionPort::<u8, ()>::new().expect("a port");
    let refused = simulated.associate(connection().0, 1).expect_err("a real socket");
    assert_eq!((refused.error.kind(), refused.key), (io::ErrorKind::InvalidInput, 1));
    real.associate(refused.source, 1).expect("it is as it was");
    let (socket, _peer) = network.connection();
    let refused = real.associate(socket, 2).expect_err("a simulated socket");
    assert_eq!((refused.error.kind(), refused.key), (io::ErrorKind::InvalidInput, 2));
    simulated.associate(refused.source, 2).expect("it is as it was");
}

/// What a simulated network has not is refused when it is started, and everything comes back; the rest works there too.
#[test]
fn a_simulated_network_says_what_it_has_not() {
    let network = Network::new(3);
    let port: CompletionPort<u8, u8> =
        CompletionPort::builder().simulated(&network).build().expect("a port");
    let (listener, _address) = network.listener();
    let listener = port.associate(listener, 1).expect("associated");
    let refused = listener.accept_with(Buffer::with_capacity(9), 7).expect_err("not there");
    assert_eq!((refused.error.kind(), refused.context), (io::ErrorKind::Unsupported, 7));
    assert_eq!(refused.buffer.capacity(), 9);

    let (socket, _peer) = network.connection();
    let stream = port.associate(socket, 2).expect("associated");
    let file = std::fs::File::open("Cargo.toml").expect("there");
    let head = Buffer::from(&b"head"[..]);
    let refused = stream.transmit_file(file, .., head, Buffer::new(), 8).expect_err("not there");
    assert_eq!((refused.error.kind(), refused.context), (io::ErrorKind::Unsupported, 8));
    assert_eq!(&refused.buffer[0][..], b"head");
    let refused = stream.disconnect_reuse(Duration::MAX, 9).expect_err("not there");
    assert_eq!((refused.error.kind(), refused.context), (io::ErrorKind::Unsupported, 9));

    stream.disconnect(4).expect("started");
    let done = port.get_timeout(Duration::from_secs(1)).expect("a packet");
    assert_eq!((done.context, done.result.expect("disconnected")), (4, 0));
    assert!(stream.send(Buffer::from(&b"late"[..]), 5).is_err());
}
