//! `PoolOptions` and `PoolSnapshot`, and the pool behind `CompletionPort::lend`.

use std::{collections::BTreeSet, io::Write, thread, time::Duration};

use crate::util::{child::alone_as, get, pair, pattern, proc::resident, until};
use completion_port::{Buffer, CompletionPort, PoolOptions};

fn port(pool: PoolOptions) -> CompletionPort<(), ()> {
    CompletionPort::builder().pool(pool).build().expect("a port")
}

#[test]
fn sizes_are_whole_pages() {
    let page = crate::util::sys::page_size();
    for (asked, got) in [
        (1, page),
        (page, page),
        (page + 1, 2 * page),
        (100_000, 100_000_usize.div_ceil(page) * page),
    ] {
        let port = port(PoolOptions::new().buffer_size(asked).limit(3));
        assert_eq!(
            (port.snapshot().pool.buffer_size, port.lend().expect("a buffer").capacity()),
            (got, got)
        );
    }
    let default = CompletionPort::<(), ()>::new().expect("a port").snapshot().pool;
    assert_eq!((default.buffer_size, default.limit), (16 * 1024, 16 * 1024));
    let same = port(PoolOptions::default()).snapshot().pool;
    assert_eq!((same.buffer_size, same.limit), (default.buffer_size, default.limit));
}

#[test]
fn the_limit_is_exact_and_counted() {
    for limit in [1, 2, 7, 8, 100] {
        let port = port(PoolOptions::new().buffer_size(1).limit(limit));
        let ready = port.snapshot().pool.ready;
        assert!(ready <= limit / 8, "a driver may keep an eighth: {ready} of {limit}");
        let held: Vec<Buffer> = std::iter::from_fn(|| port.lend()).collect();
        let pool = port.snapshot().pool;
        assert_eq!(
            (held.len() + ready, pool.lent, pool.peak, pool.limit),
            (limit, held.len(), held.len(), limit)
        );
        let places: BTreeSet<_> = held.iter().map(|buffer| buffer.as_ptr()).collect();
        assert_eq!(places.len(), held.len(), "no two are the same");
        drop(held);
        let pool = port.snapshot().pool;
        assert_eq!((pool.lent, pool.peak), (0, limit - ready), "the peak stays");
    }
}

/// The one whose pages are the hottest.
#[test]
fn the_last_one_back_is_the_first_out() {
    let port = port(PoolOptions::new().limit(4));
    let (a, b) = (port.lend().expect("a buffer"), port.lend().expect("a buffer"));
    let (first, last) = (a.as_ptr(), b.as_ptr());
    drop(a);
    drop(b);
    let again = [port.lend().expect("a buffer"), port.lend().expect("a buffer")];
    assert!(again.iter().map(|buffer| buffer.as_ptr()).eq([last, first]));
}

/// Every thread finds in its buffers what it put there, though all of them take and give back, also each other's.
#[test]
fn a_buffer_is_ones_own() {
    let port = port(PoolOptions::new().buffer_size(1).limit(20));
    thread::scope(|s| {
        let (give, take) = std::sync::mpsc::sync_channel::<Buffer>(4);
        for thread in 0..4 {
            let (port, give) = (&port, give.clone());
            s.spawn(move || {
                for time in 0..300 {
                    let Some(mut buffer) = port.lend() else {
                        thread::yield_now();
                        continue;
                    };
                    let bytes = pattern(thread * 1000 + time, 1000);
                    buffer.extend_from_slice(&bytes);
                    thread::yield_now();
                    assert!(buffer[..] == bytes, "somebody else has written here");
                    // Another thread drops it, or this one.
                    if time % 2 == 0 {
                        give.send(buffer).expect("taken");
                    }
                }
            });
        }
        drop(give);
        s.spawn(move || take.into_iter().for_each(drop));
    });
    assert_eq!(port.snapshot().pool.lent, 0);
}

#[test]
fn a_buffer_outlives_its_port() {
    let port = port(PoolOptions::new());
    let mut buffer = port.lend().expect("a buffer");
    buffer.extend_from_slice(b"still here");
    drop(port);
    assert_eq!(&buffer[..], b"still here");
    thread::spawn(move || drop(buffer)).join().expect("no panic");
}

/// The default is 256 MiB of address space. In a process of its own, whose memory nobody else uses.
#[test]
fn memory_is_reserved_and_not_touched() {
    alone_as(
        "pool::memory_is_reserved_and_not_touched",
        |command| command.output(),
        || {
            drop(port(PoolOptions::new()));
            let before = resident();
            let ports: Vec<_> = (0..10).map(|_| port(PoolOptions::new())).collect();
            let each = resident().saturating_sub(before) / ports.len();
            assert!(each < 1 << 20, "{each} bytes for a port that does nothing");
        },
    );
}

/// Buffers that are wanted again and again stay resident, however many they are, until they are not wanted any more. In a process of
/// its own, whose memory nobody else uses.
#[test]
fn what_is_in_steady_use_stays_resident_for_a_while() {
    const MANY: usize = 1000;
    alone_as(
        "pool::what_is_in_steady_use_stays_resident_for_a_while",
        |command| command.output(),
        || {
            let port = port(PoolOptions::new());
            let all = || {
                let lend = |_| {
                    let mut buffer = port.lend().expect("a buffer");
                    buffer.extend_from_slice(&[1; 16 << 10]);
                    buffer
                };
                (0..MANY).map(lend).collect::<Vec<_>>()
            };
            let before = resident();
            let few = before + (6 << 20);
            drop(all());
            let after_one = resident();
            assert!(after_one < few, "{after_one} bytes after a burst, {before} before");
            drop(all());
            let after_two = resident();
            assert!(after_two > before + (12 << 20), "{after_two} bytes, {before} before");
            // Whoever waits in the port sees to it.
            until("it is given back", || {
                let nothing = port.get_timeout(Duration::from_millis(1));
                assert!(nothing.is_err(), "there is nothing to take");
                resident() < few
            });
        },
    );
}

/// For tests of programs: a buffer that is not lent is inaccessible, and one that is lent is as good as ever.
#[test]
fn a_guarded_pool_works_like_any_other() {
    let port = port(PoolOptions::new().limit(16).guard(true));
    let (server, mut client) = pair(&port, ());
    for time in 0..40 {
        server.recv_lent(()).expect("started");
        client.write_all(&pattern(time, 100)).expect("written");
        let mut done = get(&port);
        assert_eq!(done.buffer[..], pattern(time, 100));
        done.buffer.extend_from_slice(&[1; 50]);
        done.handle.send(done.buffer, ()).expect("started");
        assert_eq!(get(&port).result.expect("sent"), 150);
    }
    assert_eq!((port.snapshot().pool.lent, port.snapshot().pool.waited), (0, 0));
}
