//! Connecting, disconnecting, and files that are sent to sockets.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use completion_port::{DriverKind, TcpSocket, error::Situation};

use crate::kit::{
    Handle, PATIENCE, Port, Scratch, datagrams, get, listener, nobody, nothing_comes, open, pair,
    patient, pattern, room, situation, with,
};

conformance! {
    what_is_connected_or_listens_does_not_connect [S148]
        "a connect of a connected socket fails by a packet, and one of a listener is refused";
    a_connect_completes_by_a_packet [S149]
        "a connect to this machine completes by a packet, and is connected then";
    a_connect_with_data_sends_all_of_it [S149]
        "a connect with data completes with all its bytes, more than the system takes at once, and the buffer comes back";
    a_refusal_says_so [S150]
        "a connect to where nobody listens fails as refused, with its data if it had any";
    a_refused_socket_may_try_again [S150]
        "a socket whose connect was refused connects elsewhere afterwards";
    the_connected_socket_is_complete [S151]
        "a connected socket has its addresses and shuts down with nothing done to it before";
    a_disconnect_ends_sending_only [S153]
        "a disconnect completes with 0 bytes behind the sends: the peer sees the end, sends and connects fail, receiving goes on";
    what_is_not_connected_does_not_disconnect [S154]
        "a disconnect of a socket that is not connected fails as not connected, each time";
    a_socket_is_used_again [S155]
        "after a disconnect for reuse and the peer's end the same handle connects again, and works";
    a_file_goes_out_between_head_and_tail [S156]
        "head, file and tail are sent in this order, and the bytes are their sum";
    a_file_goes_out_from_an_offset_to_its_end [S156]
        "a file is sent from an offset, for a length or to its end, and its own position is neither used nor moved";
    a_file_needs_a_stream [S157]
        "a datagram socket sends no file: it is refused, and head and tail come back";
}

fn unconnected(port: &Port, like: SocketAddr) -> Handle {
    let socket = TcpSocket::new(&like).expect("a socket");
    port.associate(socket, "client").expect("associated")
}

fn what_is_connected_or_listens_does_not_connect(driver: DriverKind) {
    let port = open(driver);
    let (listening, address) = listener();
    let (server, _client) = pair(&port);
    server.connect(address, 1).expect("started");
    let packet = get(&port);
    assert!(packet.context == 1 && packet.result.is_err(), "S148");
    let listening = port.associate(listening, "listener").expect("associated");
    let refused = listening.connect(address, 2).expect_err("S148");
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::InvalidInput, 2));
    nothing_comes(&port);
}

fn a_connect_completes_by_a_packet(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listener();
    let client = unconnected(&port, address);
    client.skip_on_success();
    client.connect(address, 149).expect("started");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result.expect("S149")), (149, 0));
    assert_eq!(listener.accept().expect("accepted").1, client.local_addr().expect("connected"));
    nothing_comes(&port);
}

fn a_connect_with_data_sends_all_of_it(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listener();
    let client = unconnected(&port, address);
    let bytes = pattern(8 << 20);
    client.connect_with(address, bytes.clone().into(), 149).expect("started");
    let (read, packet) = thread::scope(|s| {
        let server = s.spawn(|| {
            let mut read = vec![0; bytes.len()];
            let mut server = patient(listener.accept().expect("accepted").0);
            server.read_exact(&mut read).expect("all of it");
            read
        });
        let packet = get(&port);
        (server.join().expect("no panic"), packet)
    });
    assert!(read == bytes, "S149");
    assert_eq!(packet.result.expect("S149"), bytes.len());
    assert!(packet.buffer[..] == bytes[..], "the buffer comes back");
}

fn a_refusal_says_so(driver: DriverKind) {
    let port = open(driver);
    let (_port, _nobody, deaf) = nobody(driver);
    unconnected(&port, deaf).connect(deaf, 1).expect("started");
    let packet = get(&port);
    assert_eq!(
        (packet.context, situation(&packet.result)),
        (1, Some(Situation::ConnectionRefused))
    );
    unconnected(&port, deaf).connect_with(deaf, with(b"unsent"), 2).expect("started");
    let packet = get(&port);
    assert_eq!(situation(&packet.result), Some(Situation::ConnectionRefused), "S150");
    assert_eq!(&packet.buffer[..], b"unsent");
    nothing_comes(&port);
}

fn a_refused_socket_may_try_again(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listener();
    let (_port, _nobody, deaf) = nobody(driver);
    let client = unconnected(&port, address);
    client.connect(deaf, 1).expect("started");
    assert_eq!(situation(&get(&port).result), Some(Situation::ConnectionRefused));
    client.connect(address, 2).expect("started");
    assert_eq!(get(&port).result.expect("S150"), 0);
    assert_eq!(listener.accept().expect("accepted").1, client.local_addr().expect("connected"));
}

/// A socket that has been connected here, and the other end.
fn connect(port: &Port) -> (Handle, TcpStream) {
    let (listener, address) = listener();
    let client = unconnected(port, address);
    client.connect(address, 0).expect("started");
    get(port).result.expect("connected");
    (client, patient(listener.accept().expect("accepted").0))
}

fn the_connected_socket_is_complete(driver: DriverKind) {
    let port = open(driver);
    let (client, mut server) = connect(&port);
    assert_eq!(client.peer_addr().ok(), server.local_addr().ok(), "S151");
    assert_eq!(client.local_addr().ok(), server.peer_addr().ok(), "S151");
    client.shutdown(std::net::Shutdown::Write).expect("S151");
    assert_eq!(server.read(&mut [0]).expect("an orderly end"), 0);
    nothing_comes(&port);
}

fn a_disconnect_ends_sending_only(driver: DriverKind) {
    let port = open(driver);
    let (client, mut server) = connect(&port);
    client.send(with(b"last words"), 1).expect("started");
    client.disconnect(2).expect("started");
    assert_eq!(get(&port).context, 1);
    let packet = get(&port);
    assert_eq!((packet.context, packet.result.expect("S153")), (2, 0));
    let mut read = Vec::new();
    server.read_to_end(&mut read).expect("an orderly end");
    assert_eq!(read, b"last words");
    client.send(with(b"more"), 3).expect_err("S153: it has ended");
    let again = client.connect(server.local_addr().expect("bound"), 4);
    assert!(again.is_err() || get(&port).result.is_err(), "S153");
    client.recv(room(8), 5).expect("started");
    server.write_all(b"still").expect("written");
    assert_eq!(&get(&port).buffer[..], b"still", "S153");
}

fn what_is_not_connected_does_not_disconnect(driver: DriverKind) {
    let port = open(driver);
    let (_listener, address) = listener();
    let client = unconnected(&port, address);
    for n in 0..2 {
        client.disconnect(n).expect("started");
        let packet = get(&port);
        assert_eq!(packet.context, n);
        assert_eq!(packet.result.expect_err("S154").kind(), ErrorKind::NotConnected);
    }
}

fn a_socket_is_used_again(driver: DriverKind) {
    let port = open(driver);
    let (listener, address) = listener();
    let client = unconnected(&port, address);
    for n in 0..3_u8 {
        client.connect(address, 1).expect("started");
        get(&port).result.expect("connected");
        let mut server = patient(listener.accept().expect("accepted").0);
        client.send(with(&[n]), 2).expect("started");
        assert_eq!(get(&port).context, 2);
        client.disconnect_reuse(PATIENCE, 3).expect("started");
        let mut read = Vec::new();
        server.read_to_end(&mut read).expect("an orderly end");
        assert_eq!(read, [n]);
        drop(server);
        let packet = get(&port);
        assert_eq!((packet.context, packet.result.is_ok()), (3, true), "S155");
    }
}

/// What the peer reads of what is sent.
fn sent(port: &Port, mut client: TcpStream, server: Handle) -> (Vec<u8>, usize) {
    thread::scope(|s| {
        let reader = s.spawn(move || {
            let mut read = Vec::new();
            client.read_to_end(&mut read).expect("an orderly end");
            read
        });
        let packet = get(port);
        drop((server, packet.handle));
        let bytes = packet.result.expect("a success");
        (reader.join().expect("no panic"), bytes)
    })
}

fn a_file_goes_out_between_head_and_tail(driver: DriverKind) {
    let port = open(driver);
    let content = pattern(300_000);
    let file = Scratch::new(&content);
    let (server, client) = pair(&port);
    let (head, tail) = (with(b"head"), with(b"tail"));
    server.transmit_file(file.open_to_read(), .., head, tail, 156).expect("started");
    let (read, bytes) = sent(&port, client, server);
    assert_eq!(bytes, content.len() + 8, "S156");
    assert!(read == [&b"head"[..], &content, b"tail"].concat(), "S156");
}

fn a_file_goes_out_from_an_offset_to_its_end(driver: DriverKind) {
    let port = open(driver);
    let file = Scratch::new(b"0123456789");
    let open_file = file.open_to_read();
    let mut position = open_file.try_clone().expect("a duplicate");
    std::io::Seek::seek(&mut position, std::io::SeekFrom::Start(7)).expect("a file has positions");
    let open_file = std::sync::Arc::new(open_file);
    let none = completion_port::Buffer::new;
    let (server, client) = pair(&port);
    server.transmit_file(open_file.clone(), 4.., none(), none(), 1).expect("started");
    assert_eq!(sent(&port, client, server), (b"456789".to_vec(), 6), "S156");
    let (server, client) = pair(&port);
    server.transmit_file(open_file, 2..5, none(), none(), 2).expect("started");
    assert_eq!(sent(&port, client, server), (b"234".to_vec(), 3), "S156");
    let at = std::io::Seek::stream_position(&mut position).expect("a file has positions");
    assert_eq!(at, 7, "it was neither used nor moved");
}

fn a_file_needs_a_stream(driver: DriverKind) {
    let port = open(driver);
    let (socket, _address, _peer) = datagrams(&port);
    let file = Scratch::new(b"content");
    let (head, tail) = (with(b"head"), with(b"tail"));
    let refused = socket.transmit_file(file.open_to_read(), .., head, tail, 157);
    let refused = refused.expect_err("S157");
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::InvalidInput, 157));
    assert_eq!((&refused.buffer[0][..], &refused.buffer[1][..]), (&b"head"[..], &b"tail"[..]));
}
