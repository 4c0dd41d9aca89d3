//! A deadline for one operation: it ends with `TimedOut`, once, and one that ends in time leaves nothing behind.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use completion_port::{Buffer, DriverKind, OpKind, TcpSocket, error::Situation};

use crate::util::{
    PATIENCE, assert_nothing_left, assert_same, busy::busy_listener, connection, files, get, open,
    pair, pattern, situation, take, until,
};

crate::on_each_driver!(
    a_receive_that_gets_nothing_times_out,
    one_that_ends_in_time_takes_it_along,
    every_kind_has_one,
    of_an_accept_whose_client_is_silent,
    of_one_that_waits_its_turn,
    a_second_one_takes_the_place_of_the_first,
    there_is_none_for_what_is_over_or_cancelled,
    a_cancel_before_it_is_a_cancel,
    data_and_deadlines_race,
    of_a_read_that_is_whole_at_once,
);

const MOMENT: Duration = Duration::from_millis(3);
const LONG: Duration = Duration::from_secs(3600);

fn room() -> Buffer {
    Buffer::with_capacity(64)
}

/// Not before its time, and the connection is as good as before.
fn a_receive_that_gets_nothing_times_out(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    for lent in [false, true] {
        let before = Instant::now();
        let id = if lent { server.recv_lent(1) } else { server.recv(room(), 1).map_err(forget) };
        assert!(server.expire(id.expect("started"), MOMENT));
        let done = get(&port);
        assert!(before.elapsed() >= MOMENT, "it is early");
        assert_eq!(done.result.expect_err("nobody has sent").kind(), ErrorKind::TimedOut);
        assert_eq!((done.context, done.buffer.len()), (1, 0));
    }
    client.write_all(b"late").expect("written");
    server.recv(room(), 2).expect("started");
    assert_eq!(&get(&port).buffer[..], b"late");
    assert_nothing_left(&port);
}

fn forget<T, B>(refused: completion_port::Refused<T, B>) -> completion_port::Refused<T> {
    let completion_port::Refused { error, context, .. } = refused;
    completion_port::Refused { error, context, buffer: () }
}

/// Nothing comes of it when its time has come.
fn one_that_ends_in_time_takes_it_along(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    for n in 0..100 {
        let id = server.recv(room(), n).expect("started");
        assert!(server.expire(id, MOMENT * 20));
        client.write_all(b"x").expect("written");
        assert_eq!(get(&port).result.expect("in time"), 1);
    }
    // Longer than the last of them had.
    let id = server.recv(room(), 100).expect("started");
    assert!(port.get_timeout(MOMENT * 30).is_err(), "an old deadline has ended another operation");
    assert!(server.cancel(id));
    take(&port, 1);
    assert_nothing_left(&port);
}

fn every_kind_has_one(driver: DriverKind) {
    let port = open::<(), OpKind>(driver);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listener = port.associate(listener, ()).expect("associated");
    let (reader, _one) = pair(&port, ());
    let (writer, _other) = pair(&port, ());
    let (ending, _third) = pair(&port, ());
    let mut expected =
        vec![OpKind::Accept, OpKind::AcceptEach, OpKind::Recv, OpKind::Send, OpKind::End];
    let accept = listener.accept(OpKind::Accept).expect("started");
    let each = listener.accept_each(|| OpKind::AcceptEach).expect("started");
    assert!(listener.expire(accept, MOMENT) && listener.expire(each, MOMENT * 2));
    assert!(reader.expire(reader.recv(room(), OpKind::Recv).expect("started"), MOMENT));
    let much = writer.send(pattern(0, 64 << 20).into(), OpKind::Send).expect("started");
    assert!(writer.expire(much, MOMENT), "nobody reads");
    // An end has one from its start, and it can be moved.
    let end = ending.end(LONG, OpKind::End).expect("started");
    assert!(ending.expire(end, MOMENT));
    let (_busy, address, _fillers) = busy_listener();
    let connecting = port.associate(TcpSocket::new(&address).expect("a socket"), ()).expect("new");
    let connect = connecting.connect(address, OpKind::Connect).expect("started");
    assert!(connecting.expire(connect, MOMENT));
    expected.push(OpKind::Connect);
    for done in take(&port, expected.len()) {
        let error = done.result.expect_err("nothing has happened");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", done.context);
        expected.retain(|kind| *kind != done.context);
    }
    assert!(expected.is_empty(), "without a packet: {expected:?}");
    assert_nothing_left(&port);
}

/// S144: the client is gone with it, and no other is.
fn of_an_accept_whose_client_is_silent(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let listener = port.associate(listener, ()).expect("associated");
    let [before, beside] = [1, 2].map(|n| listener.accept_with(room(), n).expect("started"));
    // The first has its deadline before it has a connection, the second after.
    assert!(listener.expire(before, LONG));
    let mut clients = [(); 2].map(|()| TcpStream::connect(address).expect("connected"));
    let deadline = Instant::now() + PATIENCE;
    while listener.half_accepted().len() < 2 {
        assert!(port.get_timeout(MOMENT).is_err(), "nobody has said anything");
        assert!(Instant::now() < deadline, "they are not accepted");
    }
    assert!(listener.expire(beside, MOMENT));
    assert!(listener.expire(before, LONG));
    let done = get(&port);
    assert_eq!((done.context, done.result.map_err(|e| e.kind())), (2, Err(ErrorKind::TimedOut)));
    assert!(!listener.expire(beside, LONG), "it is over");
    assert_eq!(clients[1].read(&mut [0]).expect("an end"), 0);

    assert!(listener.expire(before, MOMENT));
    let done = get(&port);
    assert_eq!((done.context, done.result.map_err(|e| e.kind())), (1, Err(ErrorKind::TimedOut)));
    assert_eq!(clients[0].read(&mut [0]).expect("an end"), 0);
    assert_nothing_left(&port);
}

/// It never starts, and those before and behind it are not touched.
fn of_one_that_waits_its_turn(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    server.recv(room(), 0).expect("started");
    let second = server.recv(room(), 1).expect("started");
    server.recv(Buffer::with_capacity(1), 2).expect("started");
    assert!(server.expire(second, MOMENT));
    let done = get(&port);
    assert_eq!((done.context, situation(&done.result)), (1, Some(Situation::TimedOut)));
    client.write_all(b"a").expect("written");
    assert_eq!((get(&port).context, port.snapshot().in_flight[0].count), (0, 1));
    client.write_all(b"b").expect("written");
    assert_eq!(&get(&port).buffer[..], b"b");
    assert_nothing_left(&port);
}

fn a_second_one_takes_the_place_of_the_first(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, _client) = pair(&port, ());
    let id = server.recv(room(), 0).expect("started");
    assert!(server.expire(id, MOMENT * 3) && server.expire(id, LONG));
    assert!(port.get_timeout(MOMENT * 10).is_err(), "the first one has passed");
    // And nearer again; never, too.
    assert!(server.expire(id, Duration::MAX) && server.expire(id, MOMENT));
    assert_eq!(situation(&get(&port).result), Some(Situation::TimedOut));
    assert_nothing_left(&port);
}

fn there_is_none_for_what_is_over_or_cancelled(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, mut client) = pair(&port, ());
    let id = server.recv(room(), 0).expect("started");
    client.write_all(b"x").expect("written");
    get(&port);
    assert!(!server.expire(id, MOMENT), "it is over");
    server.recv(room(), 1).expect("started");
    let queued = server.recv(room(), 2).expect("started");
    assert!(server.cancel(queued) && !server.expire(queued, MOMENT));
    server.close();
    take(&port, 2);
    assert_nothing_left(&port);
}

fn a_cancel_before_it_is_a_cancel(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (server, _client) = pair(&port, ());
    for _ in 0..100 {
        let id = server.recv(room(), 0).expect("started");
        assert!(server.expire(id, LONG) && server.cancel(id));
        assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    }
    let id = server.recv(room(), 0).expect("started");
    assert!(server.expire(id, LONG));
    server.close();
    let closed = get(&port).result.expect_err("closed");
    assert_eq!(closed.kind(), ErrorKind::ConnectionAborted);
    assert_nothing_left(&port);
}

/// Two threads take, deadlines are so short that many pass while data comes: no byte is lost, and each receive has its one packet.
fn data_and_deadlines_race(driver: DriverKind) {
    const BYTES: usize = 2000;
    let port = open::<(), usize>(driver);
    let (server, client) = connection();
    let server = port.associate(server, ()).expect("associated");
    let (received, timed_out) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = |n: usize| {
        // Refused by the close below; before it, what is waited for there would not come.
        let Ok(id) = server.recv(Buffer::with_capacity(1), n) else { return };
        server.expire(id, Duration::from_micros(n as u64 % 50));
    };
    thread::scope(|s| {
        let close = port.close_on_drop();
        for _ in 0..2 {
            s.spawn(|| {
                while let Ok(done) = port.get() {
                    match done.result {
                        Ok(1) => _ = received.fetch_add(1, Ordering::Relaxed),
                        Err(e) if e.kind() == ErrorKind::TimedOut => {
                            timed_out.fetch_add(1, Ordering::Relaxed);
                        }
                        other => panic!("neither data nor the deadline: {other:?}"),
                    }
                    // After the last one the port closes, and would refuse it.
                    if received.load(Ordering::Relaxed) < BYTES {
                        start(done.context + 1);
                    }
                }
            });
        }
        start(0);
        for n in 0..BYTES {
            (&client).write_all(&[n as u8]).expect("written");
            if n % 3 == 0 {
                until("it is received", || received.load(Ordering::Relaxed) > n);
                // So that some wait in vain.
                let before = timed_out.load(Ordering::Relaxed);
                until("one has timed out", || timed_out.load(Ordering::Relaxed) > before);
            }
        }
        until("all has come", || received.load(Ordering::Relaxed) == BYTES);
        drop(close);
    });
    assert_eq!(received.load(Ordering::Relaxed), BYTES);
}

/// What was read counts once, and the deadline goes with it.
fn of_a_read_that_is_whole_at_once(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (file, _same) = files::associated(&port, (), &pattern(0, 64));
    let id = file.read_at(room(), 0, 1).expect("started");
    assert!(file.expire(id, LONG), "nobody has taken it");
    let done = get(&port);
    assert_same(&done.buffer, &pattern(0, 64), "what was read");
    assert_eq!((done.result.expect("read"), done.buffer.capacity()), (64, 64));
    assert_eq!(port.snapshot().timers, 0);
    assert_nothing_left(&port);
}
