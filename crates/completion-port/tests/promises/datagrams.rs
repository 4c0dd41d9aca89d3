//! Datagrams: whole or cut with a word, of no bytes too, each with its sender (S19, S96, S129 to S135).

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use completion_port::{
    Buffer, Completion, CompletionPort, DriverKind, GetError, Handle, OpKind, PoolOptions,
    error::Situation,
};

use crate::util::{
    PATIENCE, assert_nothing_left, assert_same, get, open, pair, pattern, situation, take, until,
};

crate::on_each_driver!(
    each_comes_whole_and_with_its_sender,
    receives_fill_in_call_order,
    one_too_long_for_its_buffer_is_cut_and_says_so,
    one_of_no_bytes_is_no_end,
    each_is_sent_whole_and_in_order,
    one_too_long_to_be_sent_is_not,
    a_connected_socket_needs_no_address,
    a_receiver_that_is_not_there_is_told_of,
    they_go_by_either_version_of_the_internet,
    a_cancel_ends_one_receive,
    what_had_come_is_not_lost_by_a_cancel,
    a_close_cancels_what_is_pending,
    receives_outlive_the_thread_that_started_them,
    lent_receives_wait_for_a_buffer_in_order,
    what_they_cannot_do_is_refused,
    a_continuing_receive_brings_each,
    a_continuing_receive_goes_on_after_one_that_is_cut,
    a_continuing_receive_ends_with_a_cancel,
    a_continuing_receive_waits_for_a_buffer,
    a_continuing_receive_outlives_a_panic_of_its_maker,
);

type Port = CompletionPort<(), usize>;

/// A socket whose calls fail rather than hang.
fn plain() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    socket
}

fn address(of: &UdpSocket) -> SocketAddr {
    of.local_addr().expect("bound")
}

/// An associated socket, and another that is connected to it.
fn associated<K: Send + Sync + 'static, T: Send + 'static>(
    port: &CompletionPort<K, T>,
    key: K,
) -> (Handle<K, T>, UdpSocket) {
    let (server, client) = (plain(), plain());
    client.connect(address(&server)).expect("connected");
    (port.associate(server, key).expect("associated"), client)
}

fn small_pool(driver: DriverKind, limit: usize) -> Port {
    CompletionPort::builder()
        .driver(driver)
        .pool(PoolOptions::new().buffer_size(4096).limit(limit))
        .build()
        .expect("a probed driver can be had")
}

#[track_caller]
fn assert_came(done: &Completion<(), usize>, bytes: &[u8], from: &UdpSocket) {
    assert_eq!(done.result.as_ref().ok(), Some(&bytes.len()), "{done:?}");
    assert_same(&done.buffer, bytes, "a datagram");
    assert_eq!(done.peer(), Some(address(from)));
}

/// S132: the sender is told with the datagram. By the kind of receive, and whether it is there before.
fn each_comes_whole_and_with_its_sender(driver: DriverKind) {
    let port = small_pool(driver, 16);
    let (server, one) = associated(&port, ());
    let other = plain();
    other.connect(one.peer_addr().expect("connected")).expect("connected");
    for (n, len) in [1, 2, 8, 100, 1472, 1473, 4000, 4096].into_iter().enumerate() {
        let client = if n % 2 == 0 { &one } else { &other };
        for (lent, early) in [(false, false), (false, true), (true, false), (true, true)] {
            let send = || client.send(&pattern(n, len)).expect("sent");
            if early {
                send();
            }
            let kind = if lent {
                server.recv_from_lent(n).expect("started");
                OpKind::RecvFromLent
            } else {
                server.recv_from(Buffer::with_capacity(4096), n).expect("started");
                OpKind::RecvFrom
            };
            if !early {
                send();
            }
            let done = get(&port);
            assert_came(&done, &pattern(n, len), client);
            assert_eq!((done.context, done.kind(), done.last()), (n, kind, true));
            assert_eq!(done.buffer.is_lent(), lent);
        }
    }
    assert_nothing_left(&port);
}

/// S115 holds for datagrams too; a receive with bytes in its buffer is filled behind them.
fn receives_fill_in_call_order(driver: DriverKind) {
    const COUNT: usize = 40;
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    for n in 0..COUNT {
        let mut buffer = Buffer::with_capacity(64);
        buffer.extend_from_slice(b"..");
        server.recv_from(buffer, n).expect("started");
    }
    (0..COUNT).for_each(|n| _ = client.send(&[n as u8; 3][..n % 4]).expect("sent"));
    for (n, done) in take(&port, COUNT).into_iter().enumerate() {
        assert_eq!((done.context, done.sequence()), (n, n as u64));
        assert_eq!(done.result.expect("it came"), n % 4);
        assert_eq!((&done.buffer[..2], &done.buffer[2..]), (&b".."[..], &[n as u8; 3][..n % 4]));
    }
    assert_nothing_left(&port);
}

/// S19, S129: the buffer is filled, the rest is lost, the next datagram is as it was sent.
fn one_too_long_for_its_buffer_is_cut_and_says_so(driver: DriverKind) {
    let port = small_pool(driver, 16);
    let (server, client) = associated(&port, ());
    let long = pattern(0, 5000);
    for early in [false, true] {
        for room in [1, 10, 4096] {
            let start = || {
                if room == 4096 {
                    server.recv_from_lent(0).expect("started");
                } else {
                    let mut bytes = vec![7; 9];
                    bytes.reserve_exact(room);
                    bytes.resize(bytes.capacity() - room, 7);
                    server.recv_from(bytes.into(), 0).expect("started");
                }
            };
            if !early {
                start();
            }
            client.send(&long).expect("sent");
            client.send(b"short").expect("sent");
            if early {
                start();
            }
            let done = get(&port);
            assert_eq!(situation(&done.result), Some(Situation::Truncated));
            let filled = &done.buffer[done.buffer.len() - room..];
            assert_same(filled, &long[..room], "what there was room for");
            assert_eq!(done.peer(), Some(address(&client)));
            server.recv_from(Buffer::with_capacity(64), 0).expect("started");
            assert_came(&get(&port), b"short", &client);
        }
    }
    // One that just fits is not cut.
    client.send(&long[..4096]).expect("sent");
    server.recv_from_lent(0).expect("started");
    assert_came(&get(&port), &long[..4096], &client);
    assert_nothing_left(&port);
}

/// S131, received and sent.
fn one_of_no_bytes_is_no_end(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    for early in [false, true] {
        for lent in [false, true] {
            let start = || match lent {
                true => server.recv_from_lent(0).expect("started"),
                false => server.recv_from(Buffer::with_capacity(8), 0).expect("started"),
            };
            if early {
                client.send(&[]).expect("sent");
                start();
            } else {
                start();
                client.send(&[]).expect("sent");
            }
            assert_came(&get(&port), &[], &client);
            client.send(b"more").expect("sent");
            start();
            assert_came(&get(&port), b"more", &client);
        }
    }
    server.send_to(Buffer::new(), address(&client), 1).expect("started");
    let done = get(&port);
    assert_eq!((done.kind(), done.result.expect("sent")), (OpKind::SendTo, 0));
    assert_eq!(client.recv(&mut [0; 8]).expect("it comes"), 0);
    assert_nothing_left(&port);
}

/// S116, S117: up to the longest that there is.
fn each_is_sent_whole_and_in_order(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    let mut room = vec![0; 1 << 16];
    for (n, len) in [0, 1, 1500, 65_000, 65_507].into_iter().enumerate() {
        server.send_to(pattern(n, len).into(), address(&client), n).expect("started");
        server.send_to(vec![n as u8].into(), address(&client), 10 + n).expect("started");
        let done = take(&port, 2);
        assert!(done.iter().map(|done| done.context).eq([n, 10 + n]));
        assert_eq!(done[0].result.as_ref().ok(), Some(&len));
        assert_eq!(done[0].peer(), Some(address(&client)), "to whom");
        assert_same(&done[0].buffer, &pattern(n, len), "the buffer comes back");
        let came = client.recv(&mut room).expect("it comes");
        assert_same(&room[..came], &pattern(n, len), "what came");
        assert_eq!(client.recv(&mut room).expect("it comes"), 1);
        assert_eq!(room[0], n as u8);
    }
    assert_nothing_left(&port);
}

/// The system refuses it, and it alone.
fn one_too_long_to_be_sent_is_not(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    server.send_to(pattern(0, 65_508).into(), address(&client), 0).expect("started");
    server.send_to(vec![1].into(), address(&client), 1).expect("started");
    let done = get(&port);
    assert_eq!(situation(&done.result), Some(Situation::Truncated));
    assert_same(&done.buffer, &pattern(0, 65_508), "the buffer comes back");
    assert_eq!(get(&port).result.expect("sent"), 1);
    assert_eq!(client.recv(&mut [0; 8]).expect("it comes"), 1, "nothing came before");
    assert_nothing_left(&port);
}

fn a_connected_socket_needs_no_address(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = (plain(), plain());
    client.connect(address(&server)).expect("connected");
    server.connect(address(&client)).expect("connected");
    let stranger = plain();
    stranger.send_to(b"not for it", address(&server)).expect("sent");
    let handle = port.associate(server, ()).expect("associated");
    handle.recv(Buffer::with_capacity(64), 0).expect("started");
    handle.recv_lent(1).expect("started");
    client.send(&[]).expect("sent");
    client.send(b"hello").expect("sent");
    assert_came(&get(&port), &[], &client);
    assert_came(&get(&port), b"hello", &client);
    handle.send(Buffer::from(&b"back"[..]), 2).expect("started");
    handle.send(Buffer::new(), 3).expect("started");
    for (done, len) in take(&port, 2).into_iter().zip([4, 0]) {
        assert_eq!((done.kind(), done.result.expect("sent")), (OpKind::SendTo, len));
    }
    let mut room = [0; 8];
    assert_eq!(client.recv(&mut room).expect("it comes"), 4);
    assert_eq!(client.recv(&mut room).expect("it comes"), 0);
    assert_nothing_left(&port);
    // One that is not has nobody to send to.
    let (loose, _client) = associated(&port, ());
    loose.send(vec![1].into(), 4).expect("started");
    let error = get(&port).result.expect_err("to whom?");
    assert_eq!(error.raw_os_error(), Some(crate::util::codes::EDESTADDRREQ));
}

/// S134, as Linux has it: on a connected socket, once, by the operation that asks first. The socket is well afterwards.
fn a_receiver_that_is_not_there_is_told_of(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, gone) = (plain(), plain());
    let nobody = address(&gone);
    server.connect(nobody).expect("connected");
    let own = address(&server);
    drop(gone);
    let handle = port.associate(server, ()).expect("associated");
    for lent in [false, true] {
        match lent {
            true => handle.recv_lent(0).expect("started"),
            false => handle.recv(Buffer::with_capacity(8), 0).expect("started"),
        };
        // A lent one may have to be with the kernel first, which is seen to by whoever waits.
        assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
        handle.send(vec![1].into(), 1).expect("started");
        let mut done = take(&port, 2);
        done.sort_by_key(|done| done.context);
        assert_eq!(situation(&done[0].result), Some(Situation::ConnectionRefused));
        assert_eq!(done[0].peer(), None);
        assert_eq!(done[1].result.as_ref().ok(), Some(&1));
    }
    // A continuing receive tells of it, and goes on.
    handle.recv_from_each(|| 3).expect("started");
    assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
    handle.send(vec![1].into(), 4).expect("started");
    let mut done = take(&port, 2);
    done.sort_by_key(|done| done.context);
    assert_eq!(situation(&done[0].result), Some(Situation::ConnectionRefused));
    assert_eq!((done[0].peer(), done[0].last()), (None, false));
    assert_eq!(handle.cancel_all(), 1);
    assert!(get(&port).last());
    let late = UdpSocket::bind(nobody).expect("free again");
    handle.recv_lent(2).expect("started");
    late.send_to(b"here now", own).expect("sent");
    assert_came(&get(&port), b"here now", &late);
    assert_nothing_left(&port);
}

fn they_go_by_either_version_of_the_internet(driver: DriverKind) {
    let Ok(server) = UdpSocket::bind("[::1]:0") else {
        return crate::util::drivers::say_once("skipped: this machine has no IPv6");
    };
    let port = open::<(), usize>(driver);
    let client = UdpSocket::bind("[::1]:0").expect("a free port");
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    client.send_to(b"six", address(&server)).expect("sent");
    let server = port.associate(server, ()).expect("associated");
    server.recv_from_lent(0).expect("started");
    let done = get(&port);
    assert_came(&done, b"six", &client);
    server.send_to(done.buffer, address(&client), 1).expect("started");
    get(&port).result.expect("sent");
    assert_eq!(client.recv(&mut [0; 8]).expect("it comes"), 3);
    let to = crate::util::sys::socket_of(&server).map(|socket| socket.sock_ref().local_addr());
    let to = to.and_then(|to| to.expect("bound").as_socket()).expect("an address");
    server.recv_from_each(|| 2).expect("started");
    client.send_to(b"each", to).expect("sent");
    assert_came(&get(&port), b"each", &client);
    server.close();
    assert!(get(&port).last());
    assert_nothing_left(&port);
}

/// S91: the first, one in the middle, the last.
fn a_cancel_ends_one_receive(driver: DriverKind) {
    for which in [0, 2, 4] {
        let port = open::<(), usize>(driver);
        let (server, client) = associated(&port, ());
        let start = |n| match n % 2 {
            0 => server.recv_from(Buffer::with_capacity(8), n).expect("started"),
            _ => server.recv_from_lent(n).expect("started"),
        };
        let ids: Vec<_> = (0..5).map(start).collect();
        assert!(server.cancel(ids[which]), "it was found");
        let done = get(&port);
        assert_eq!((done.context, situation(&done.result)), (which, Some(Situation::Cancelled)));
        assert_eq!((done.peer(), &done.buffer[..]), (None, &[][..]));
        assert!(!server.cancel(ids[which]), "it is over");
        (0..4).for_each(|n: u8| _ = client.send(&[n]).expect("sent"));
        let contexts = (0..5).filter(|n| *n != which);
        for ((done, context), n) in take(&port, 4).into_iter().zip(contexts).zip(0..) {
            assert_eq!((done.context, &done.buffer[..]), (context, &[n][..]));
        }
        assert_nothing_left(&port);
    }
}

/// S89: it completes the receive, or is there for the next.
fn what_had_come_is_not_lost_by_a_cancel(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    for n in 0..50_u8 {
        let id = match n % 2 {
            0 => server.recv_from(Buffer::with_capacity(8), 0).expect("started"),
            _ => server.recv_from_lent(0).expect("started"),
        };
        client.send(&[n]).expect("sent");
        server.cancel(id);
        let mut done = get(&port);
        if done.result.is_err() {
            assert_eq!(situation(&done.result), Some(Situation::Cancelled));
            server.recv_from_lent(0).expect("started");
            done = get(&port);
        }
        assert_came(&done, &[n], &client);
    }
    assert_nothing_left(&port);
}

/// S93, S96. Nothing can be started afterwards.
fn a_close_cancels_what_is_pending(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    server.recv_from(Buffer::with_capacity(8), 0).expect("started");
    server.recv_from_lent(1).expect("started");
    server.recv_from_each(|| 2).expect("started");
    assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
    server.close();
    let mut packets = take(&port, 3);
    packets.sort_by_key(|done| done.context);
    for (n, done) in packets.into_iter().enumerate() {
        assert_eq!((done.context, done.last()), (n, true));
        assert_eq!(
            done.result.expect_err("closed").raw_os_error(),
            Some(crate::util::codes::ECANCELED)
        );
    }
    let refused = server.recv_from(Buffer::with_capacity(8), 7).expect_err("closed");
    assert_eq!((refused.context, refused.buffer.capacity()), (7, 8));
    let refused = server.send_to(vec![1].into(), address(&client), 8).expect_err("closed");
    assert_eq!((refused.context, &refused.buffer[..]), (8, &[1][..]));
    assert_eq!(server.recv_from_lent(9).expect_err("closed").context, 9);
    assert_nothing_left(&port);
    // A port that is closed gives them back as cancelled.
    let (server, _client) = associated(&port, ());
    server.recv_from_lent(3).expect("started");
    let left = port.close();
    assert_eq!((left.len(), left[0].context), (1, 3));
    assert_eq!(situation(&left[0].result), Some(Situation::Cancelled));
}

/// S106.
fn receives_outlive_the_thread_that_started_them(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    thread::scope(|s| {
        s.spawn(|| {
            server.recv_from(Buffer::with_capacity(8), 0).expect("started");
            // With the kernel before the thread goes.
            assert!(matches!(port.get_timeout(Duration::ZERO), Err(GetError::TimedOut)));
        });
    });
    thread::scope(|s| {
        s.spawn(|| client.send(b"still").expect("sent"));
        assert_came(&get(&port), b"still", &client);
    });
    assert_nothing_left(&port);
}

/// A datagram of no bytes waits like any other.
fn lent_receives_wait_for_a_buffer_in_order(driver: DriverKind) {
    let port = small_pool(driver, 1);
    let held = port.lend().expect("one");
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            let (server, client) = associated(&port, ());
            client.send(&pattern(n, n)).expect("sent");
            server.recv_from_lent(n).expect("started");
            until("it is found that there is no buffer", || {
                assert!(port.get_timeout(Duration::ZERO).is_err(), "there was a buffer");
                port.snapshot().starved == n + 1
            });
            (server, client)
        })
        .collect();
    assert!(waiting[2].0.cancel_all() == 1);
    assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    drop(held);
    for n in [0, 1, 3] {
        let done = get(&port);
        assert_eq!(done.context, n);
        assert_came(&done, &pattern(n, n), &waiting[n].1);
    }
    assert_eq!(port.snapshot().pool.waited, 4, "each has waited once");
    // What the cancelled one did not take is still there.
    waiting[2].0.recv_from_lent(2).expect("started");
    assert_came(&get(&port), &pattern(2, 2), &waiting[2].1);
    assert_nothing_left(&port);
}

/// And given back. What streams cannot do, likewise.
fn what_they_cannot_do_is_refused(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    let full = server.recv_from(Buffer::from(vec![1; 3].into_boxed_slice().into_vec()), 1);
    let full = full.expect_err("no room");
    assert_eq!((full.context, &full.buffer[..]), (1, &[1; 3][..]));
    assert!(server.accept(2).is_err_and(|refused| refused.context == 2));
    assert!(server.accept_each(|| 3).is_err());
    assert!(server.connect(address(&client), 4).is_err_and(|refused| refused.context == 4));
    assert!(server.end(Duration::ZERO, 5).is_err_and(|refused| refused.context == 5));
    assert!(server.shutdown(std::net::Shutdown::Both).is_err());
    let several = server.send_vectored(vec![vec![1].into(), vec![2].into()], 6);
    assert!(several.is_err_and(|refused| refused.buffer.len() == 2 && refused.context == 6));

    let (stream, _other) = pair(&port, ());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listener = port.associate(listener, ()).expect("associated");
    for handle in [stream, listener, port.key(())] {
        let refused =
            handle.send_to(vec![1].into(), address(&client), 7).expect_err("no datagrams");
        assert_eq!((refused.context, &refused.buffer[..]), (7, &[1][..]));
        let refused = handle.recv_from(Buffer::with_capacity(4), 8).expect_err("no datagrams");
        assert_eq!((refused.context, refused.buffer.capacity()), (8, 4));
        assert!(handle.recv_from_lent(9).is_err_and(|refused| refused.context == 9));
        assert!(handle.recv_from_each(|| 10).is_err());
    }
    assert_nothing_left(&port);
}

/// More than one operation is started again for in a row.
fn a_continuing_receive_brings_each(driver: DriverKind) {
    const COUNT: usize = 200;
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    let mut number = 0;
    let maker = move || {
        number += 1;
        number - 1
    };
    server.recv_from_each(maker).expect("started");
    let mut came = 0;
    // As many at once as the socket keeps for certain.
    while came < COUNT {
        (came..came + 100).for_each(|n| _ = client.send(&pattern(n, n % 7)).expect("sent"));
        for done in take(&port, 100) {
            assert_eq!(
                (done.context, done.last(), done.kind()),
                (came, false, OpKind::RecvFromEach)
            );
            assert_came(&done, &pattern(came, came % 7), &client);
            came += 1;
        }
    }
    assert_eq!(server.cancel_all(), 1);
    let done = get(&port);
    assert_eq!((done.last(), situation(&done.result)), (true, Some(Situation::Cancelled)));
    assert_nothing_left(&port);
}

fn a_continuing_receive_goes_on_after_one_that_is_cut(driver: DriverKind) {
    let port = small_pool(driver, 16);
    let (server, client) = associated(&port, ());
    server.recv_from_each(|| 0).expect("started");
    for len in [4097, 5000, 65_507] {
        client.send(&pattern(0, len)).expect("sent");
        client.send(b"short").expect("sent");
        // One that just fits is not cut.
        client.send(&pattern(1, 4096)).expect("sent");
        let done = get(&port);
        assert_eq!((situation(&done.result), done.last()), (Some(Situation::Truncated), false));
        assert_same(&done.buffer, &pattern(0, 4096), "what there was room for");
        assert_eq!((done.buffer.spare(), done.peer()), (0, Some(address(&client))));
        assert_came(&get(&port), b"short", &client);
        assert_came(&get(&port), &pattern(1, 4096), &client);
    }
    server.close();
    assert!(get(&port).last());
    assert_nothing_left(&port);
}

/// What came before is there, and what is queued behind it has its turn.
fn a_continuing_receive_ends_with_a_cancel(driver: DriverKind) {
    for _ in 0..20 {
        let port = open::<(), usize>(driver);
        let (server, client) = associated(&port, ());
        let each = server.recv_from_each(|| 0).expect("started");
        server.recv_from(Buffer::with_capacity(8), 1).expect("started");
        client.send(b"a").expect("sent");
        assert!(server.cancel(each), "it goes on until then");
        assert!(!server.cancel(each), "once");
        client.send(b"b").expect("sent");
        let (mut bytes, mut over) = (Vec::new(), false);
        while bytes.len() < 2 || !over {
            let done = get(&port);
            match done.result {
                Ok(_) => {
                    bytes.extend_from_slice(&done.buffer);
                    if done.context == 1 && bytes.len() < 2 {
                        server.recv_from(Buffer::with_capacity(8), 2).expect("started");
                    }
                }
                Err(_) => {
                    assert_eq!(situation(&done.result), Some(Situation::Cancelled));
                    assert_eq!((done.context, done.last(), over), (0, true, false));
                    over = true;
                }
            }
        }
        assert_eq!(bytes, b"ab");
        server.cancel_all();
        while port.get_timeout(Duration::ZERO).is_ok() {}
        assert_nothing_left(&port);
    }
}

fn a_continuing_receive_waits_for_a_buffer(driver: DriverKind) {
    // With 16 a driver may keep two ready for the kernel, with 2 none.
    for limit in [2, 16] {
        const COUNT: usize = 60;
        let port = small_pool(driver, limit);
        let (server, client) = associated(&port, ());
        server.recv_from_each(|| 0).expect("started");
        (0..COUNT).for_each(|n| _ = client.send(&pattern(n, 1 + n)).expect("sent"));
        let mut came = 0;
        while came < COUNT {
            let mut held = Vec::new();
            until("all buffers are out, or all has come", || {
                held.extend(port.get_timeout(Duration::ZERO));
                port.snapshot().starved == 1 || came + held.len() == COUNT
            });
            held.extend(std::iter::from_fn(|| port.get_timeout(Duration::ZERO).ok()));
            assert!(!held.is_empty() && held.len() <= limit, "{} of {limit}", held.len());
            for done in held {
                assert_came(&done, &pattern(came, 1 + came), &client);
                came += 1;
            }
        }
        assert!(port.snapshot().pool.waited > 0);
        server.close();
        assert!(get(&port).last());
        assert_nothing_left(&port);
    }
}

fn a_continuing_receive_outlives_a_panic_of_its_maker(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (server, client) = associated(&port, ());
    let mut number = 0;
    let maker = move || {
        number += 1;
        assert!(number != 2, "as planned");
        number
    };
    server.recv_from_each(maker).expect("started");
    let (mut came, mut panics) = (Vec::new(), 0);
    for n in 0..4_u8 {
        client.send(&[n]).expect("sent");
        match catch_unwind(AssertUnwindSafe(|| port.get_timeout(PATIENCE))) {
            Ok(done) => came.push(done.expect("it came").buffer[0]),
            Err(_) => panics += 1,
        }
        while let Ok(done) = port.get_timeout(Duration::ZERO) {
            came.push(done.buffer[0]);
        }
    }
    assert_eq!(panics, 1);
    assert!(came.len() >= 3 && came.is_sorted() && came.ends_with(&[3]), "{came:?}");
    server.close();
    assert!(get(&port).last());
    assert_nothing_left(&port);
}
