//! Promise 1: start I/O from any thread, take completions on any thread.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
    thread,
};

use completion_port::{Buffer, CompletionPort, DriverKind, OpKind};

use crate::util::{get, open, pair, pattern, scaled, until};

crate::on_each_driver!(
    echo_by_threads_that_share_everything,
    a_packet_is_whole_before_its_start_returns
);

/// How often each user speaks, and how long at most.
const ROUNDS: usize = 20;
const LONGEST: usize = 700;

/// Every operation of the test has a number of its own for a context.
struct Numbers {
    next: AtomicUsize,
    seen: Vec<AtomicU8>,
}

impl Numbers {
    fn next(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// Eight threads start the first receives, four take packets and start what follows, on whatever handle they come; each context is
/// seen once (S16, S59).
fn echo_by_threads_that_share_everything(driver: DriverKind) {
    let count = scaled("echoing connections", 64, 2);
    let port = open::<usize, usize>(driver);
    let (handles, mut users): (Vec<_>, Vec<_>) = (0..count).map(|key| pair(&port, key)).unzip();
    // A round may come apart into as many receives as it has bytes.
    let most = count * (ROUNDS * LONGEST * 2 + 2);
    let numbers =
        Numbers { next: AtomicUsize::new(0), seen: (0..most).map(|_| AtomicU8::new(0)).collect() };
    let ended = AtomicUsize::new(0);

    thread::scope(|s| {
        let _close = port.close_on_drop();
        for _ in 0..4 {
            s.spawn(|| echo(&port, &numbers, &ended));
        }
        for share in handles.chunks(count.div_ceil(8)) {
            let numbers = &numbers;
            s.spawn(move || {
                for handle in share {
                    handle
                        .recv(Buffer::with_capacity(100 + handle.key() % 300), numbers.next())
                        .expect("started");
                }
            });
        }
        let speakers: Vec<_> =
            users.chunks_mut(count.div_ceil(4)).map(|share| s.spawn(|| speak(share))).collect();
        speakers.into_iter().for_each(|speaker| speaker.join().expect("every echo was right"));
        until("every connection has ended", || ended.load(Ordering::Relaxed) == count);
    });

    let started = numbers.next();
    let counts: Vec<u8> =
        numbers.seen[..started].iter().map(|seen| seen.load(Ordering::Relaxed)).collect();
    assert_eq!(
        counts.iter().position(|count| *count != 1),
        None,
        "each of {started} contexts is seen once"
    );
}

fn echo(port: &CompletionPort<usize, usize>, numbers: &Numbers, ended: &AtomicUsize) {
    while let Ok(done) = port.get() {
        numbers.seen[done.context].fetch_add(1, Ordering::Relaxed);
        let kind = done.kind();
        let mut buffer = done.buffer;
        match (kind, done.result.expect("nobody resets anything")) {
            (OpKind::Recv, 0) => {
                ended.fetch_add(1, Ordering::Relaxed);
            }
            (OpKind::Recv, _) => {
                done.handle.send(buffer, numbers.next()).expect("started");
            }
            _ => {
                buffer.clear();
                done.handle.recv(buffer, numbers.next()).expect("started");
            }
        }
    }
}

/// Each user's bytes come back as they were.
fn speak(users: &mut [TcpStream]) {
    let lengths = (0..ROUNDS).map(|round| 1 + round * 331 % LONGEST);
    let mut at = 0;
    for len in lengths {
        for (number, user) in users.iter_mut().enumerate() {
            user.write_all(&pattern(at + number * 1000, len)).expect("written");
        }
        for (number, user) in users.iter_mut().enumerate() {
            let mut back = vec![0; len];
            user.read_exact(&mut back).expect("read");
            assert!(back == pattern(at + number * 1000, len), "an echo that is not what was said");
        }
        at += len;
    }
    users.iter().for_each(|user| user.shutdown(Shutdown::Write).expect("shut down"));
}

/// The packet may be on another thread before the call that started it has returned: everything is in it all the same.
fn a_packet_is_whole_before_its_start_returns(driver: DriverKind) {
    const TIMES: usize = 500;
    let port = open::<&str, usize>(driver);
    let (server, mut client) = pair(&port, "the key");
    let taken = AtomicUsize::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            for time in 0..TIMES {
                let done = get(&port);
                assert_eq!(
                    (*done.handle.key(), done.context, done.sequence(), done.kind()),
                    ("the key", time, time as u64, OpKind::Recv)
                );
                assert_eq!(
                    (done.result.expect("received"), &done.buffer[..]),
                    (4, &(time as u32).to_ne_bytes()[..])
                );
                taken.store(time + 1, Ordering::Release);
            }
        });
        for time in 0..TIMES {
            client.write_all(&(time as u32).to_ne_bytes()).expect("written");
            server.recv(Buffer::with_capacity(4), time).expect("started");
            until("the packet is taken", || taken.load(Ordering::Acquire) > time);
        }
    });
}
