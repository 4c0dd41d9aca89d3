//! Promise 3: receives fill and sends leave in call order, whatever the number of outstanding ones and of threads that start them.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::Shutdown,
    thread,
};

use completion_port::{Buffer, Completion, DriverKind, OpKind};

use crate::util::{assert_nothing_left, assert_same, get, open, pair, pattern, take, while_read};

crate::on_each_driver!(
    receives_fill_in_call_order,
    receives_from_many_threads_fill_in_their_order,
    sends_from_many_threads_leave_in_their_order,
    a_blocked_direction_does_not_hold_up_the_other,
);

/// The bytes of packets of one direction, in the order of their starts.
fn in_order<K: Send + Sync, T: Send>(packets: Vec<Completion<K, T>>) -> Vec<u8> {
    let by_sequence: BTreeMap<u64, Vec<u8>> = packets
        .into_iter()
        .map(|mut done| {
            let gathered: Vec<u8> =
                done.buffers().iter().flat_map(|buffer| buffer.to_vec()).collect();
            (done.sequence(), if gathered.is_empty() { done.buffer.into() } else { gathered })
        })
        .collect();
    by_sequence.into_values().flatten().collect()
}

/// S115: sixty-four outstanding receives of all sizes, owned and lent; the sequence is the order of the calls.
fn receives_fill_in_call_order(driver: DriverKind) {
    const COUNT: usize = 64;
    let port = open::<(), usize>(driver);
    let (server, mut client) = pair(&port, ());
    for call in 0..COUNT {
        match call % 4 {
            3 => server.recv_lent(call).expect("started"),
            _ => server.recv(Buffer::with_capacity(1 + call * 13 % 50), call).expect("started"),
        };
    }
    let bytes = pattern(0, 3_000);
    for piece in bytes.chunks(17) {
        client.write_all(piece).expect("written");
    }
    client.shutdown(Shutdown::Write).expect("shut down");

    let packets = take(&port, COUNT);
    assert_nothing_left(&port);
    let mut results = vec![0; COUNT];
    for done in &packets {
        assert_eq!(done.sequence(), done.context as u64, "the sequence is the order of the calls");
        results[done.context] = *done.result.as_ref().expect("received");
        assert_eq!(results[done.context], done.buffer.len());
    }
    assert_same(&in_order(packets), &bytes, "what was received");
    // Nothing is received behind the end of the stream (S111).
    let end = results
        .iter()
        .position(|received| *received == 0)
        .expect("the lent ones take more than there is");
    assert!(results[end..].iter().all(|received| *received == 0), "{results:?}");
}

/// Four threads start at once. Whose call was first the sequence tells, and each thread's own are in order.
fn receives_from_many_threads_fill_in_their_order(driver: DriverKind) {
    const EACH: usize = 50;
    let port = open::<(), (usize, usize)>(driver);
    let (server, mut client) = pair(&port, ());
    thread::scope(|s| {
        for thread in 0..4 {
            let server = &server;
            s.spawn(move || {
                for call in 0..EACH {
                    server.recv(Buffer::with_capacity(8), (thread, call)).expect("started");
                }
            });
        }
        client.write_all(&pattern(0, 4 * EACH * 8)).expect("written");
    });
    let mut packets = take(&port, 4 * EACH);
    packets.sort_by_key(Completion::sequence);
    for thread in 0..4 {
        let calls =
            packets.iter().filter(|done| done.context.0 == thread).map(|done| done.context.1);
        assert!(calls.eq(0..EACH), "the calls of one thread keep their order");
    }
    // The client's bytes may come in pieces, so a receive may be short; but nothing is lost or out of order.
    let got = in_order(packets);
    assert_same(&got, &pattern(0, got.len()), "what was received");
}

/// S116: from eight threads, small and large, single and gathered. The peer reads them in the order that the sequence tells, none torn.
fn sends_from_many_threads_leave_in_their_order(driver: DriverKind) {
    const EACH: usize = 12;
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.set_send_buffer_size(16 * 1024).expect("an option");
    let read = thread::scope(|s| {
        let reader = s.spawn(|| {
            let mut read = Vec::new();
            client.read_to_end(&mut read).map(|_| read)
        });
        let senders: Vec<_> = (0..8)
            .map(|thread| {
                let server = &server;
                s.spawn(move || {
                    for call in 0..EACH {
                        let len = if call % 6 == 5 {
                            200_000
                        } else {
                            1 + (thread * 31 + call * 17) % 3_000
                        };
                        let bytes = pattern(thread * 5_000 + call * 300, len);
                        if call % 3 == 2 {
                            let (head, tail) = bytes.split_at(len / 3);
                            server
                                .send_vectored(vec![head.into(), tail.into()], ())
                                .expect("started");
                        } else {
                            server.send(bytes.into(), ()).expect("started");
                        }
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
        server.shutdown(Shutdown::Write).expect("behind all of them");
        let packets = take(&port, 8 * EACH);
        let sent: usize = packets.iter().map(|done| *done.result.as_ref().expect("sent")).sum();
        let read = reader.join().expect("no panic").expect("an orderly end");
        assert_eq!(read.len(), sent);
        assert_same(&read, &in_order(packets), "what the peer read");
        read
    });
    assert!(read.len() > 8 * 200_000);
    assert_nothing_left(&port);
}

/// The two directions of a handle wait for themselves alone.
fn a_blocked_direction_does_not_hold_up_the_other(driver: DriverKind) {
    const MUCH: usize = 8 << 20;
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    server.send(pattern(0, MUCH).into(), ()).expect("started");
    for time in 0..10 {
        server.recv(Buffer::with_capacity(8), ()).expect("started");
        client.write_all(&[time]).expect("written");
        let done = get(&port);
        assert_eq!((done.kind(), &done.buffer[..]), (OpKind::Recv, &[time][..]));
    }
    let sent = while_read(&mut client, &pattern(0, MUCH), || get(&port));
    assert_eq!(sent.result.expect("whole"), MUCH);
}
