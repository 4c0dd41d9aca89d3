//! Bytes and their order, with routines: as it is with packets.

use std::{
    cell::RefCell,
    io::Read,
    io::Write,
    net::Shutdown,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use completion_port::{
    Buffer, DriverKind,
    error::Situation,
    routine::{Done, OverlappedSocket},
};

use crate::{
    kit::{Log, nothing_runs, on_a_thread, pair, room, run_until},
    util::{PATIENCE, assert_same, pattern, situation, while_read},
};

crate::on_each_driver!(
    receives_fill_in_call_order,
    sends_leave_in_call_order,
    sends_are_whole,
    gathered_sends_come_back_with_their_buffers,
    buffers_are_lent_and_come_back,
    an_end_flushes_and_waits_for_the_peer,
    an_end_that_comes_too_late_says_so,
    a_shutdown_comes_behind_the_sends,
    a_stream_is_read_to_its_end,
);

/// S115: and the routines run in that order, too.
fn receives_fill_in_call_order(driver: DriverKind) {
    const COUNT: usize = 200;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let got = Log::default();
        for n in 0..COUNT {
            let log = got.clone();
            let routine = move |done: Done| {
                assert_eq!(done.result.expect("received"), done.buffer.len());
                log.add((n, done.buffer.to_vec()));
            };
            if n % 3 == 0 {
                socket.recv_lent(routine).expect("started");
            } else {
                socket.recv(room(1 + n % 50), routine).expect("started");
            }
        }
        let mut written = 0;
        while got.len() < COUNT {
            let bytes = pattern(written, 1 + written % 700);
            client.write_all(&bytes).expect("written");
            written += bytes.len();
            let before = got.len();
            run_until("more has come", || got.len() > before);
        }
        let got = got.take();
        assert!(got.iter().map(|one| one.0).eq(0..COUNT), "S170");
        let bytes: Vec<u8> = got.into_iter().flat_map(|one| one.1).collect();
        assert_same(&bytes, &pattern(0, bytes.len()), "what was received");
    });
}

/// S116: whole and gathered, long and short.
fn sends_leave_in_call_order(driver: DriverKind) {
    const COUNT: usize = 120;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let sent = Log::default();
        let mut at = 0;
        for n in 0..COUNT {
            let len = if n % 10 == 0 { 300_000 } else { 1 + n * 37 % 5_000 };
            let bytes = pattern(at, len);
            at += len;
            let log = sent.clone();
            let routine = move |done: Done| {
                assert_eq!(done.result.expect("sent"), len, "S117");
                log.add(n);
            };
            if n % 4 == 0 {
                let (head, tail) = bytes.split_at(len / 2);
                socket.send_vectored(vec![head.into(), tail.into()], routine).expect("started");
            } else {
                socket.send(bytes.into(), routine).expect("started");
            }
        }
        while_read(&mut client, &pattern(0, at), || {
            run_until("all are sent", || sent.len() == COUNT);
        });
        assert!(sent.take().into_iter().eq(0..COUNT), "S170");
    });
}

/// S117: to a peer that reads slowly, each send is told when its last byte has left.
fn sends_are_whole(driver: DriverKind) {
    const MUCH: usize = 8 << 20;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let sent: Log<Done> = Log::default();
        let bytes: Arc<[u8]> = pattern(0, MUCH).into();
        for _ in 0..2 {
            socket.send(bytes.clone().into(), sent.keep()).expect("started");
        }
        nothing_runs();
        let reader = thread::spawn(move || {
            let (mut read, mut piece) = (Vec::new(), vec![0; 50_000]);
            while read.len() < 2 * MUCH {
                // Slower than it could.
                thread::sleep(Duration::from_micros(100));
                let count = client.read(&mut piece).expect("more comes");
                assert_ne!(count, 0, "an end after {} bytes", read.len());
                read.extend_from_slice(&piece[..count]);
            }
            read
        });
        run_until("both are sent", || sent.len() == 2);
        for done in sent.take() {
            assert_eq!((done.result.expect("whole"), done.buffer.len()), (MUCH, MUCH));
        }
        let read = reader.join().expect("no panic");
        assert_same(&read[..MUCH], &bytes, "the first");
        assert_same(&read[MUCH..], &bytes, "the second");
    });
}

/// S121, S176
fn gathered_sends_come_back_with_their_buffers(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let sent: Log<Done> = Log::default();
        let lengths = [3, 0, 1 << 20, 70_000, 1];
        let mut at = 0;
        let mut buffers = Vec::new();
        for len in lengths {
            buffers.push(Buffer::from(pattern(at, len)));
            at += len;
        }
        socket.send_vectored(buffers, sent.keep()).expect("started");
        while_read(&mut client, &pattern(0, at), || {
            run_until("it is sent", || sent.len() == 1);
        });
        let done = sent.take().remove(0);
        assert_eq!((done.result.expect("whole"), done.buffer.len()), (at, 0));
        assert!(done.buffers.iter().map(|buffer| buffer.len()).eq(lengths));
        let back: Vec<u8> = done.buffers.iter().flat_map(|buffer| buffer.to_vec()).collect();
        assert_same(&back, &pattern(0, at), "the buffers");
    });
}

/// A lent buffer is the thread's pool's, may be kept, sent and dropped, on any thread and after the end of this one.
fn buffers_are_lent_and_come_back(driver: DriverKind) {
    let kept = on_a_thread(driver, || {
        let (socket, mut client) = pair();
        client.set_nodelay(true).expect("an option");
        let got: Log<Done> = Log::default();
        let mut kept = Vec::new();
        for n in 0..300 {
            socket.recv_lent(got.keep()).expect("started");
            client.write_all(&pattern(n, 9)).expect("written");
            run_until("it comes", || got.len() == 1);
            let done = got.take().remove(0);
            assert_eq!(&done.buffer[..], &pattern(n, 9)[..]);
            assert!(done.buffer.is_lent());
            match n % 3 {
                0 if kept.len() < 10 => kept.push((n, done.buffer)),
                1 => {
                    socket.send(done.buffer, got.keep()).expect("started");
                    run_until("it is sent", || got.len() == 1);
                    assert!(got.take().remove(0).buffer.is_lent(), "S176: the buffer itself");
                    client.read_exact(&mut [0; 9]).expect("sent");
                }
                _ => {}
            }
        }
        kept
    });
    for (n, buffer) in kept {
        assert_eq!(&buffer[..], &pattern(n, 9)[..], "its pool lives as long");
    }
}

/// What was started leaves, the peer is told the end, and what it still says is counted.
fn an_end_flushes_and_waits_for_the_peer(driver: DriverKind) {
    const MUCH: usize = 4 << 20;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let told: Log<(&str, Done)> = Log::default();
        let note = |what| {
            let log = told.clone();
            move |done| log.add((what, done))
        };
        client.write_all(&[1; 1000]).expect("written");
        socket.send(pattern(0, MUCH).into(), note("sent")).expect("started");
        socket.end(PATIENCE, note("ended")).expect("started");
        socket.recv(room(1), note("never")).expect_err("it is ending");
        thread::scope(|s| {
            s.spawn(|| {
                let mut read = Vec::new();
                client.read_to_end(&mut read).expect("an orderly end");
                assert_same(&read, &pattern(0, MUCH), "what was sent");
                client.shutdown(Shutdown::Write).expect("shut down");
            });
            run_until("the end", || told.len() == 2);
        });
        let told = told.take();
        let of = |what| &told.iter().find(|one| one.0 == what).expect("told").1.result;
        assert_eq!(*of("sent").as_ref().expect("whole"), MUCH);
        assert_eq!(*of("ended").as_ref().expect("the peer's end"), 1000);
        nothing_runs();
    });
}

/// The deadline passes in an alertable wait; receives that are pending are cancelled first.
fn an_end_that_comes_too_late_says_so(driver: DriverKind) {
    on_a_thread(driver, || {
        let (socket, _client) = pair();
        let told = Log::default();
        let note = |what| {
            let log = told.clone();
            move |done: Done| log.add((what, situation(&done.result)))
        };
        socket.recv(room(1), note("a receive")).expect("started");
        let (begun, time) = (Instant::now(), Duration::from_millis(50));
        socket.end(time, note("the end")).expect("started");
        run_until("the end", || told.len() == 2);
        assert!(begun.elapsed() >= time);
        let expected =
            [("a receive", Some(Situation::Cancelled)), ("the end", Some(Situation::TimedOut))];
        assert_eq!(told.take(), expected);
        socket.recv(room(1), note("never")).expect_err("it is closed");
    });
}

/// S63: and no routine runs for it.
fn a_shutdown_comes_behind_the_sends(driver: DriverKind) {
    const MUCH: usize = 4 << 20;
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let sent = Log::default();
        socket.send(pattern(0, MUCH).into(), sent.routine(())).expect("started");
        socket.shutdown(Shutdown::Write).expect("behind it");
        socket.send(vec![1].into(), sent.routine(())).expect_err("sending has ended");
        let mut read = Vec::new();
        thread::scope(|s| {
            s.spawn(|| client.read_to_end(&mut read).expect("an orderly end"));
            run_until("it is sent", || sent.len() == 1);
        });
        assert_same(&read, &pattern(0, MUCH), "what was sent");
        // The other direction lives.
        let got: Log<Done> = Log::default();
        socket.recv(room(5), got.keep()).expect("started");
        client.write_all(b"still").expect("written");
        run_until("it comes", || got.len() == 1);
        assert_eq!(&got.take().remove(0).buffer[..], b"still");
        nothing_runs();
    });
}

/// A routine that starts the next receive is how a stream is read: nothing is lost between two of them.
fn a_stream_is_read_to_its_end(driver: DriverKind) {
    const MUCH: usize = 3 << 20;
    fn read_on(socket: &OverlappedSocket, got: Rc<RefCell<Vec<u8>>>, ended: Log<()>) {
        let routine = move |mut done: Done| {
            if done.result.expect("received") == 0 {
                return ended.add(());
            }
            got.borrow_mut().extend_from_slice(&done.buffer);
            done.buffer.clear();
            read_on(&done.socket, got, ended);
        };
        socket.recv(room(10_007), routine).expect("started");
    }
    on_a_thread(driver, || {
        let (socket, mut client) = pair();
        let (got, ended) = (Rc::default(), Log::default());
        read_on(&socket, Rc::clone(&got), ended.clone());
        thread::scope(|s| {
            s.spawn(move || client.write_all(&pattern(0, MUCH)).expect("written"));
            run_until("the end", || ended.len() == 1);
        });
        assert_same(&got.borrow(), &pattern(0, MUCH), "what was received");
        nothing_runs();
    });
}
