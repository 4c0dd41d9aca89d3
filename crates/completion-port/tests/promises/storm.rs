//! Promises 1 to 4 and 9 together: threads start, cancel, close and end on handles whose peers read, write, close and reset, all as they
//! please. Every operation that was not refused has one packet, and every byte is where it belongs.
//!
//! What the random histories are on the simulated driver, with real threads and real sockets: no run is like another, and a seed only
//! says what was tried.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use completion_port::{Buffer, Completion, CompletionPort, DriverKind, GetError, Handle, OpKind};

use crate::util::{assert_same, open, pair, pattern, reset, until};

crate::on_each_driver!(nothing_is_lost_or_doubled);

/// Operations that each thread tries in one connection's life.
const TRIES: usize = 25;

struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }
}

/// The packets of one connection.
#[derive(Default)]
struct Seen {
    contexts: Vec<usize>,
    received: BTreeMap<u64, Vec<u8>>,
    sent: BTreeMap<u64, (Vec<u8>, bool)>,
}

/// One connection's life, and how it is to end.
struct Life {
    handle: Handle<usize, usize>,
    seen: Mutex<Seen>,
    next: AtomicUsize,
    seed: u64,
}

impl Life {
    fn context(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

fn taken(lives: &[Life], mut done: Completion<usize, usize>) {
    let mut seen = lives[*done.handle.key()].seen.lock().expect("no panic");
    seen.contexts.push(done.context);
    let sequence = done.sequence();
    match done.kind() {
        OpKind::Send => {
            let gathered: Vec<u8> =
                done.buffers().iter().flat_map(|buffer| buffer.to_vec()).collect();
            let bytes = if gathered.is_empty() { done.buffer.to_vec() } else { gathered };
            if let Ok(sent) = done.result {
                assert_eq!(sent, bytes.len(), "whole");
            }
            seen.sent.insert(sequence, (bytes, done.result.is_ok()));
        }
        OpKind::Recv | OpKind::RecvLent => {
            assert_eq!(done.buffer.len(), done.result.unwrap_or(0));
            seen.received.insert(sequence, done.buffer.into());
        }
        _ => {}
    }
}

/// Whether it was started. Refused is only what may be: too many, closed, ending.
fn started<T>(result: Result<T, io::Error>) -> Option<T> {
    let allowed =
        |e: &io::Error| matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected);
    result.inspect_err(|e| assert!(allowed(e), "{e}")).ok()
}

/// Starts receives, and takes some of them back. The refused contexts are given.
fn receive(life: &Life) -> Vec<usize> {
    let mut rng = Rng::new(life.seed);
    let mut refused = Vec::new();
    for _ in 0..TRIES {
        let context = life.context();
        let id = match rng.below(2) {
            0 => started(life.handle.recv_lent(context).map_err(Into::into)),
            _ => started(
                life.handle
                    .recv(Buffer::with_capacity(1 + rng.below(5_000)), context)
                    .map_err(Into::into),
            ),
        };
        match id {
            Some(id) if rng.below(4) == 0 => _ = life.handle.cancel(id),
            Some(_) => {}
            None => refused.push(context),
        }
        if rng.below(3) == 0 {
            thread::yield_now();
        }
    }
    refused
}

/// Starts sends, and takes some of them back. The only one to send: the bytes of each are all its place in the order.
fn send(life: &Life) -> Vec<usize> {
    let mut rng = Rng::new(life.seed + 1_000);
    let mut refused = Vec::new();
    let mut place = 0_u64;
    for _ in 0..TRIES {
        let context = life.context();
        let most = if rng.below(8) == 0 { 600_000 } else { 4_000 };
        let bytes = vec![(place % 251) as u8; 1 + rng.below(most)];
        let id = match rng.below(3) {
            0 => {
                let (head, tail) = bytes.split_at(bytes.len() / 3);
                started(
                    life.handle
                        .send_vectored(vec![head.into(), tail.into()], context)
                        .map_err(Into::into),
                )
            }
            _ => started(life.handle.send(bytes.into(), context).map_err(Into::into)),
        };
        match id {
            Some(id) => {
                place += 1;
                if rng.below(6) == 0 {
                    life.handle.cancel(id);
                }
            }
            None => refused.push(context),
        }
    }
    refused
}

/// What becomes of the handle. A context that was refused is given.
fn decide(life: &Life) -> Vec<usize> {
    let mut rng = Rng::new(life.seed + 2_000);
    for _ in 0..rng.below(40) {
        thread::yield_now();
    }
    match rng.below(5) {
        0 => life.handle.close(),
        1 => _ = life.handle.cancel_all(),
        2 => _ = life.handle.shutdown(Shutdown::Write),
        3 => {
            let context = life.context();
            let time = Duration::from_micros(rng.below(20_000) as u64);
            if started(life.handle.end(time, context).map_err(Into::into)).is_none() {
                return vec![context];
            }
        }
        _ => {}
    }
    Vec::new()
}

/// Writes its pattern and reads what comes, and ends it one way or the other. What it has read, and whether that is all there was.
fn peer(mut client: TcpStream, seed: u64) -> (Vec<u8>, usize) {
    let mut rng = Rng::new(seed + 3_000);
    let (mut read, mut written) = (Vec::new(), 0);
    let mut piece = vec![0; 70_000];
    for _ in 0..rng.below(20) {
        if rng.below(2) == 0 {
            let bytes = pattern(written, 1 + rng.below(3_000));
            client.set_nonblocking(true).expect("an option");
            match client.write(&bytes) {
                Ok(count) => written += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        } else {
            client.set_nonblocking(true).expect("an option");
            match client.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => read.extend_from_slice(&piece[..count]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                Err(_) => break,
            }
        }
    }
    client.set_nonblocking(false).expect("an option");
    match rng.below(4) {
        0 => reset(client),
        1 => drop(client),
        _ => {
            // To the end, which comes when everything on the other side is over.
            let _ = client.shutdown(Shutdown::Write);
            while let Ok(count @ 1..) = client.read(&mut piece) {
                read.extend_from_slice(&piece[..count]);
            }
        }
    }
    (read, written)
}

/// Every context once, but those that were refused.
fn check_contexts(life: &Life, refused: &[usize]) {
    let mut contexts = life.seen.lock().expect("no panic").contexts.clone();
    contexts.extend_from_slice(refused);
    contexts.sort_unstable();
    let expected = life.next.load(Ordering::Relaxed);
    assert!(
        contexts.iter().copied().eq(0..expected),
        "seed {}: {contexts:?} of {expected}",
        life.seed
    );
}

/// What was received, in the order of the calls, is what the peer wrote, without a gap. What the peer read is each send's bytes in
/// the order of the calls: all of them or, of one that failed, the first.
fn check_bytes(life: &Life, read: &[u8], written: usize) {
    let seen = life.seen.lock().expect("no panic");
    let received: Vec<u8> = seen.received.values().flatten().copied().collect();
    assert!(received.len() <= written, "seed {}", life.seed);
    assert_same(
        &received,
        &pattern(0, received.len()),
        &format!("seed {}: what was received", life.seed),
    );
    let mut rest = read;
    for (sequence, (bytes, _)) in &seen.sent {
        let place = (sequence % 251) as u8;
        assert!(
            bytes.iter().all(|byte| *byte == place),
            "seed {}: a send's buffer comes back as it was",
            life.seed
        );
        let there = rest.iter().take(bytes.len()).take_while(|byte| **byte == place).count();
        rest = &rest[there..];
        if there < bytes.len() && rest.is_empty() {
            // The peer read no further.
            break;
        }
        let failed = seen.sent[sequence].1;
        assert!(
            there == bytes.len() || !failed,
            "seed {}: send {sequence} was said to be whole",
            life.seed
        );
    }
    assert!(rest.is_empty(), "seed {}: {} bytes that belong to no send", life.seed, rest.len());
}

fn nothing_is_lost_or_doubled(driver: DriverKind) {
    const LIVES: usize = 24;
    let port: CompletionPort<usize, usize> = open(driver);
    let (lives, clients): (Vec<Life>, Vec<TcpStream>) = (0..LIVES)
        .map(|key| {
            let (handle, client) = pair(&port, key);
            let seed = key as u64 * 7 + 5;
            (Life { handle, seen: Mutex::default(), next: AtomicUsize::new(0), seed }, client)
        })
        .unzip();
    thread::scope(|s| {
        let _close = port.close_on_drop();
        for taker in 0..3 {
            let (port, lives) = (&port, &lives);
            s.spawn(move || {
                for time in 0.. {
                    let time = Duration::from_micros((time * 13 + taker * 77) % 2_000);
                    match port.get_timeout(time) {
                        Ok(done) => taken(lives, done),
                        Err(GetError::TimedOut) => {}
                        Err(_) => return,
                    }
                }
            });
        }
        // A few connections at a time, four threads for each.
        for (lives, clients) in lives.chunks(4).zip(chunks(clients, 4)) {
            let peers: Vec<_> = lives
                .iter()
                .zip(clients)
                .map(|(life, client)| s.spawn(move || peer(client, life.seed)))
                .collect();
            let actors: Vec<_> = lives
                .iter()
                .map(|life| {
                    [s.spawn(|| receive(life)), s.spawn(|| send(life)), s.spawn(|| decide(life))]
                })
                .collect();
            let mut refused = Vec::new();
            for actors in actors {
                refused.push(
                    actors
                        .into_iter()
                        .flat_map(|actor| actor.join().expect("no panic"))
                        .collect::<Vec<_>>(),
                );
            }
            // Whatever is left ends with the handle, gracefully; a peer that is closed or resets ends it sooner.
            for life in lives {
                if life.handle.end(Duration::from_secs(20), usize::MAX).is_ok() {
                    until("the end", || {
                        life.seen.lock().expect("no panic").contexts.contains(&usize::MAX)
                    });
                    life.seen
                        .lock()
                        .expect("no panic")
                        .contexts
                        .retain(|context| *context != usize::MAX);
                }
            }
            for ((life, peer), refused) in lives.iter().zip(peers).zip(&refused) {
                let (read, written) = peer.join().expect("no panic");
                until("every packet has come", || {
                    let seen = life.seen.lock().expect("no panic").contexts.len();
                    seen + refused.len() >= life.next.load(Ordering::Relaxed)
                });
                check_contexts(life, refused);
                check_bytes(life, &read, written);
            }
        }
    });
    assert!(
        port.snapshot().in_flight.is_empty() && port.snapshot().packets == 0,
        "{}",
        port.snapshot()
    );
    assert_eq!((port.snapshot().pool.lent, port.snapshot().leaked), (0, 0));
}

/// Owned chunks.
fn chunks<T>(items: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<T> = items.by_ref().take(size).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}
