//! Skip on success (S64-S66): a completion that is given at once comes in no packet, and every other one does.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use completion_port::{
    Buffer, Completion, CompletionPort, DriverKind, Handle, OpKind, Started, error::Situation,
};

use crate::util::{
    assert_nothing_left, assert_same, get, open, pair, pattern, reset, situation, until,
};

crate::on_each_driver!(
    a_success_at_once_is_given_and_brings_no_packet,
    a_pending_operation_brings_its_packet,
    a_failure_at_once_is_a_packet,
    a_handle_that_has_not_chosen_it_brings_a_packet,
    the_choice_is_that_of_all_clones_and_for_good,
    calls_that_return_an_id_bring_packets,
    a_refused_start_gives_everything_back,
    a_send_after_the_ports_close_leaves_nothing,
    a_send_behind_another_waits_its_turn,
    a_send_that_goes_in_part_is_whole_later,
    a_receive_behind_another_waits_its_turn,
    a_lent_buffer_is_given_at_once,
    the_end_of_the_stream_is_a_success,
    started_by_many_threads_at_once,
);

type Port = CompletionPort<(), u32>;

fn skipping(driver: DriverKind) -> (Port, Handle<(), u32>, TcpStream) {
    let port = open(driver);
    let (server, client) = pair(&port, ());
    server.skip_on_success();
    (port, server, client)
}

#[track_caller]
fn done(started: Started<(), u32>) -> Completion<(), u32> {
    match started {
        Started::Done(done) => done,
        Started::Pending(id) => panic!("it pends: {id:?}"),
    }
}

#[track_caller]
fn pends(started: Started<(), u32>) {
    assert!(matches!(started, Started::Pending(_)), "{started:?}");
}

fn with(bytes: &[u8]) -> Buffer {
    bytes.to_vec().into()
}

/// Waits until there is something to read, without reading it.
fn has_come(server: &Handle<(), u32>) {
    let socket = crate::util::sys::socket_of(server).expect("a socket");
    until("something has come", || {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        socket.sock_ref().peek(&mut byte).is_ok()
    });
}

/// S64.
fn a_success_at_once_is_given_and_brings_no_packet(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    let sent = done(server.send_inline(with(b"hello"), 1).expect("started"));
    assert_eq!((sent.context, sent.kind(), sent.result.expect("sent")), (1, OpKind::Send, 5));
    assert_eq!((&sent.buffer[..], sent.handle == server), (&b"hello"[..], true));
    let parts = vec![with(b"head, "), with(b"body")];
    let mut sent = done(server.send_vectored_inline(parts, 2).expect("started"));
    assert_eq!((sent.buffers().len(), sent.sequence()), (2, 1));
    let mut read = [0; 15];
    client.read_exact(&mut read).expect("sent");
    assert_eq!(&read, b"hellohead, body");

    client.write_all(b"what is there").expect("written");
    has_come(&server);
    let received = done(server.recv_inline(Buffer::with_capacity(64), 3).expect("started"));
    assert_eq!((received.context, &received.buffer[..]), (3, &b"what is there"[..]));
    // Without a wait between, in which a driver could hear of it.
    client.write_all(b"and more").expect("written");
    has_come(&server);
    let received = done(server.recv_inline(Buffer::with_capacity(64), 4).expect("started"));
    assert_eq!((received.context, &received.buffer[..]), (4, &b"and more"[..]));
    assert_nothing_left(&port);
}

/// S64, S59.
fn a_pending_operation_brings_its_packet(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    pends(server.recv_inline(Buffer::with_capacity(64), 1).expect("started"));
    client.write_all(b"later").expect("written");
    let received = get(&port);
    assert_eq!((received.context, &received.buffer[..]), (1, &b"later"[..]));
    let Started::Pending(id) = server.recv_inline(Buffer::with_capacity(64), 2).expect("started")
    else {
        panic!("nothing is there")
    };
    assert!(server.cancel(id));
    assert_eq!(situation(&get(&port).result), Some(Situation::Cancelled));
    assert_nothing_left(&port);
}

/// S61, as it is kept here.
fn a_failure_at_once_is_a_packet(driver: DriverKind) {
    let (port, server, client) = skipping(driver);
    // Both sides know of it before the starts that fail.
    server.recv(Buffer::with_capacity(1), 0).expect("started");
    reset(client);
    assert_eq!(situation(&get(&port).result), Some(Situation::PeerReset));
    pends(server.recv_inline(Buffer::with_capacity(8), 1).expect("started"));
    let failed = get(&port);
    assert_eq!((failed.context, situation(&failed.result)), (1, Some(Situation::PeerReset)));
    pends(server.send_inline(with(b"to whom?"), 2).expect("started"));
    let failed = get(&port);
    assert_eq!((failed.context, &failed.buffer[..]), (2, &b"to whom?"[..]));
    assert_eq!(situation(&failed.result), Some(Situation::PeerReset));
    assert_nothing_left(&port);
}

/// S60.
fn a_handle_that_has_not_chosen_it_brings_a_packet(driver: DriverKind) {
    let port: Port = open(driver);
    let (server, mut client) = pair(&port, ());
    pends(server.send_inline(with(b"hello"), 1).expect("started"));
    assert_eq!(get(&port).context, 1);
    client.write_all(b"hello").expect("written");
    has_come(&server);
    pends(server.recv_inline(Buffer::with_capacity(64), 2).expect("started"));
    assert_eq!(get(&port).context, 2);
    assert_nothing_left(&port);
}

/// S66: and of no other handle.
fn the_choice_is_that_of_all_clones_and_for_good(driver: DriverKind) {
    let (port, server, _client) = skipping(driver);
    let (other, _peer) = pair(&port, ());
    server.skip_on_success();
    let clone = server.clone();
    drop(server);
    let sent = done(clone.send_inline(with(b"x"), 1).expect("started"));
    drop(clone);
    done(sent.handle.send_inline(with(b"x"), 2).expect("started"));
    pends(other.send_inline(with(b"x"), 3).expect("started"));
    assert_eq!(get(&port).context, 3);
    assert_nothing_left(&port);
}

fn calls_that_return_an_id_bring_packets(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    server.send(with(b"x"), 1).expect("started");
    assert_eq!(get(&port).context, 1);
    client.write_all(b"x").expect("written");
    has_come(&server);
    server.recv(Buffer::with_capacity(8), 2).expect("started");
    assert_eq!(get(&port).context, 2);
    server.post(0, 3).expect("open");
    assert_eq!(get(&port).context, 3);
    assert_nothing_left(&port);
}

fn a_refused_start_gives_everything_back(driver: DriverKind) {
    let (port, server, _client) = skipping(driver);
    let refused = server.recv_inline(with(b"full"), 1).unwrap_err();
    assert_eq!((refused.context, &refused.buffer[..]), (1, &b"full"[..]));
    assert_eq!(server.send_inline(Buffer::new(), 2).unwrap_err().context, 2);
    assert_eq!(server.send_vectored_inline(vec![Buffer::new()], 3).unwrap_err().buffer.len(), 1);
    server.close();
    assert_eq!(server.recv_lent_inline(4).unwrap_err().context, 4);
    assert_nothing_left(&port);
}

/// The socket is as before, for its peer: nothing leaves by it any more.
fn a_send_after_the_ports_close_leaves_nothing(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    port.close();
    assert_eq!(server.send_inline(with(b"late"), 1).unwrap_err().context, 1);
    assert_eq!(server.send(with(b"late"), 2).unwrap_err().context, 2);
    drop((server, port));
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
}

/// Makes room, so that the system would take more now. Tells how many bytes were there, or fit.
fn read_what_is_there(client: &mut TcpStream, bytes: &mut [u8]) -> usize {
    let mut read = 0;
    client.set_nonblocking(true).expect("a socket");
    while read < bytes.len()
        && let Ok(more @ 1..) = client.read(&mut bytes[read..])
    {
        read += more;
    }
    client.set_nonblocking(false).expect("a socket");
    read
}

/// S116: one that could go at once, if it were not for the one before it.
fn a_send_behind_another_waits_its_turn(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    let first: Arc<[u8]> = pattern(0, 32 << 20).into();
    pends(server.send_inline(first.clone().into(), 1).expect("started"));
    let all = pattern(0, first.len() + 1000);
    let mut read = vec![0; all.len()];
    let early = read_what_is_there(&mut client, &mut read[..8 << 20]);
    let second = pattern(first.len(), 1000);
    pends(server.send_inline(second.into(), 2).expect("started"));
    thread::scope(|s| {
        s.spawn(|| {
            client.read_exact(&mut read[early..]).expect("all of it");
            assert_same(&read, &all, "what the peer reads");
        });
        for context in [1, 2] {
            let sent = get(&port);
            assert_eq!((sent.context, sent.result.expect("whole")), (context, sent.buffer.len()));
        }
    });
    // With nothing before it.
    assert_eq!(done(server.send_inline(with(b"x"), 3).expect("started")).sequence(), 2);
    assert_nothing_left(&port);
}

/// S117: never short, inline or not.
fn a_send_that_goes_in_part_is_whole_later(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    let piece: Arc<[u8]> = pattern(0, 300_000).into();
    let mut sends = 0;
    let mut inline = 0;
    // Until the system takes no more: some go at once, and then one in part.
    loop {
        sends += 1;
        match server.send_inline(piece.clone().into(), sends).expect("started") {
            Started::Done(sent) => {
                assert_eq!(sent.result.expect("whole"), piece.len());
                inline += 1;
            }
            Started::Pending(_) => break,
        }
        assert!(inline < 1000, "the system takes everything");
    }
    thread::scope(|s| {
        s.spawn(|| {
            let mut read = vec![0; piece.len()];
            for _ in 0..sends {
                client.read_exact(&mut read).expect("all of it");
                assert_same(&read, &piece, "what the peer reads");
            }
        });
        let sent = get(&port);
        assert_eq!((sent.context, sent.result.expect("whole")), (sends, piece.len()));
    });
    assert_nothing_left(&port);
}

/// S115: bytes are there, but they are the first one's.
fn a_receive_behind_another_waits_its_turn(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    pends(server.recv_inline(Buffer::with_capacity(4), 1).expect("started"));
    client.write_all(b"onetwothree").expect("written");
    // It is no matter whether somebody has seen by now that the first is over.
    let second = server.recv_inline(Buffer::with_capacity(4), 2).expect("started");
    pends(second);
    let mut received = [get(&port), get(&port)];
    received.sort_by_key(Completion::sequence);
    assert_eq!((&received[0].buffer[..], &received[1].buffer[..]), (&b"onet"[..], &b"woth"[..]));
    let third = server.recv_inline(Buffer::with_capacity(4), 3).expect("started");
    assert_eq!((third_of(third), server.cancel_all()), (b"ree".to_vec(), 0));
    assert_nothing_left(&port);
}

#[track_caller]
fn third_of(started: Started<(), u32>) -> Vec<u8> {
    done(started).buffer.into()
}

/// S123.
fn a_lent_buffer_is_given_at_once(driver: DriverKind) {
    let (port, server, mut client) = skipping(driver);
    client.write_all(b"lent").expect("written");
    has_come(&server);
    let received = done(server.recv_lent_inline(1).expect("started"));
    assert_eq!((&received.buffer[..], received.buffer.is_lent()), (&b"lent"[..], true));
    drop(received);
    pends(server.recv_lent_inline(2).expect("started"));
    assert_eq!(port.snapshot().pool.lent, 0, "none lies idle");
    client.write_all(b"later").expect("written");
    let received = get(&port);
    assert_eq!((received.context, &received.buffer[..]), (2, &b"later"[..]));
    assert_nothing_left(&port);
}

/// S111.
fn the_end_of_the_stream_is_a_success(driver: DriverKind) {
    let (port, server, client) = skipping(driver);
    client.shutdown(Shutdown::Write).expect("connected");
    server.recv(Buffer::with_capacity(4), 0).expect("started");
    assert_eq!(get(&port).result.expect("the end"), 0);
    let ended = done(server.recv_inline(Buffer::with_capacity(4), 1).expect("started"));
    assert_eq!(ended.result.expect("the end"), 0);
    let ended = done(server.recv_lent_inline(2).expect("started"));
    assert_eq!((ended.result.expect("the end"), ended.buffer.is_lent()), (0, false));
    assert_nothing_left(&port);
}

/// Promise 2: every operation completes once, inline or by a packet, whoever starts and takes.
fn started_by_many_threads_at_once(driver: DriverKind) {
    const EACH: usize = 2_000;
    const STARTERS: usize = 4;
    let (port, server, mut client) = skipping(driver);
    let (inline, posted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let over = || inline.load(Ordering::Relaxed) + posted.load(Ordering::Relaxed);
    thread::scope(|s| {
        s.spawn(|| {
            let mut read = vec![0; EACH * STARTERS];
            client.read_exact(&mut read).expect("all of it");
            assert!(read.iter().all(|byte| *byte == 7));
        });
        for _ in 0..STARTERS {
            s.spawn(|| {
                for _ in 0..EACH {
                    let mut buffer = with(&[7]);
                    loop {
                        match server.send_inline(buffer, 0) {
                            Ok(Started::Done(_)) => _ = inline.fetch_add(1, Ordering::Relaxed),
                            Ok(Started::Pending(_)) => {}
                            // Too many queued (S183).
                            Err(refused) => {
                                buffer = refused.buffer;
                                thread::yield_now();
                                continue;
                            }
                        }
                        break;
                    }
                }
            });
        }
        s.spawn(|| {
            while over() < EACH * STARTERS {
                if port.get_timeout(std::time::Duration::from_millis(1)).is_ok() {
                    posted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    });
    assert_eq!(over(), EACH * STARTERS);
    assert_nothing_left(&port);
}
