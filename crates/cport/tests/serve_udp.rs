//! `cport serve --udp`, from outside.

mod common;

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
};

use common::{DEADLINE, Random, Server, Signal, assert_refused, bytes, run, sys::DRIVER};

fn start(more: &[&str]) -> Server {
    Server::start(&[&["--udp"], more].concat())
}

fn client(server: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    client.connect(server).expect("connected");
    client
}

/// Sends a datagram and reads it back.
fn echo(client: &UdpSocket, sent: &[u8]) {
    let mut back = vec![0; 1 << 16];
    client.send(sent).expect("sent");
    let count = client.recv(&mut back).expect("it comes back");
    assert!(back[..count] == *sent, "{} bytes went, and {count} others came", sent.len());
}

/// The state that it prints when it is asked, but for the port.
fn state(server: &Server) -> std::collections::BTreeMap<String, u64> {
    server.signal(Signal::Report);
    let line = server.line();
    assert!(line.starts_with("received=") && line.contains(" port: "), "{line}");
    let words = line.split(" port: ").next().expect("a line").split(' ');
    let number = |word: &str| {
        let (key, value) = word.split_once('=').expect("a number");
        (key.to_string(), value.parse().expect("a number"))
    };
    words.map(number).collect()
}

#[test]
fn datagrams_of_every_size_come_back_on_each_driver() {
    for driver in ["auto", DRIVER] {
        let server = start(&["--driver", driver, "--workers", "3", "--limit", "2"]);
        assert!(server.first.ends_with("), 3 workers, limit 2, datagrams"), "{}", server.first);
        let client = client(server.addresses[0]);
        let sizes = [0, 1, 7, 1472, 1473, 16_384, 16_385, 65_506, 65_507, 0];
        for (n, size) in sizes.into_iter().enumerate() {
            echo(&client, &bytes(n as u64, 0, size));
        }
        let total = sizes.iter().sum::<usize>() as u64;
        let (code, counts) = server.stop();
        assert_eq!((code, counts["received"], counts["echoed"]), (Some(0), 10, 10), "{counts:?}");
        assert_eq!((counts["read"], counts["sent"]), (total, total), "{counts:?}");
        assert_eq!((counts["failed"], counts["errors"]), (0, 0), "{counts:?}");
    }
}

#[test]
fn many_clients_at_once_each_get_their_own() {
    const CLIENTS: u64 = 20;
    const EACH: usize = 200;
    let server = start(&[]);
    let address = server.addresses[0];
    thread::scope(|scope| {
        for id in 0..CLIENTS {
            scope.spawn(move || {
                let (client, mut random) = (client(address), Random(id));
                (0..EACH).for_each(|n| echo(&client, &bytes(id, n as u64, random.below(3000))));
            });
        }
    });
    let counts = state(&server);
    assert_eq!(counts["received"], CLIENTS * EACH as u64, "{counts:?}");
    let (code, counts) = server.stop();
    assert_eq!((code, counts["echoed"]), (Some(0), CLIENTS * EACH as u64), "{counts:?}");
}

/// On each address, of both versions of the internet where there are two.
#[test]
fn several_addresses_are_served() {
    let second = if UdpSocket::bind("[::1]:0").is_ok() { "[::1]:0" } else { "127.0.0.1:0" };
    let server = start(&["--listen", second]);
    assert_eq!(server.addresses.len(), 2);
    for address in &server.addresses {
        let any = if address.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
        let client = UdpSocket::bind(any).expect("a free port");
        client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        client.connect(address).expect("connected");
        echo(&client, b"hello");
    }
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn what_does_not_go_together_is_refused() {
    assert_refused(&run(&["serve", "--udp", "--model", "routine"]), 2, &["--udp", "streams"]);
    assert_refused(
        &run(&["serve", "--udp", "--max-connections", "3"]),
        2,
        &["--udp", "--max-connections"],
    );
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    assert_refused(&run(&["serve", "--udp", &address]), 1, &["cannot listen on", &address]);
}
