//! `cport serve`, from outside.

mod common;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use common::{
    DEADLINE, Server, Signal, bytes, check, connect, converse, cport, reset_at_close, scaled,
    sys::{self, DRIVER},
};

#[test]
fn the_first_line_says_all() {
    let server = Server::start(&[
        "--workers",
        "3",
        "--limit",
        "2",
        "--listen",
        "127.0.0.1:0",
        "--driver",
        DRIVER,
    ]);
    assert_eq!(server.addresses.len(), 2);
    assert!(server.addresses.iter().all(|address| address.port() != 0));
    assert!(server.first.contains(&format!(", driver {DRIVER} (")), "{}", server.first);
    assert!(server.first.ends_with("), 3 workers, limit 2"), "{}", server.first);
    for address in &server.addresses {
        converse(&TcpStream::connect(address).expect("connected"), 1, 1000);
    }
    server.wait_until("all have gone", |state| state["open"] == 0 && state["closed"] == 2);
    let (code, total) = server.stop();
    assert_eq!((code, total["accepted"], total["read"], total["sent"]), (Some(0), 2, 2000, 2000));
}

#[test]
fn many_clients_get_back_every_byte() {
    let server = Server::start(&[]);
    const THREADS: usize = 8;
    let each = scaled(400).div_ceil(THREADS);
    thread::scope(|scope| {
        for part in 0..THREADS {
            let address = server.addresses[0];
            scope.spawn(move || {
                let streams: Vec<_> = (0..each).map(|_| connect(address)).collect();
                for (n, stream) in streams.iter().enumerate() {
                    converse(
                        stream,
                        (part * each + n) as u64,
                        if n % 16 == 0 { 1_000_000 } else { 3000 },
                    );
                }
            });
        }
    });
    let all = (THREADS * each) as u64;
    let state =
        server.wait_until("all have gone", |state| state["open"] == 0 && state["closed"] == all);
    assert_eq!((state["accepted"], state["errors"], state["read"]), (all, 0, state["sent"]));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn open_connections_are_counted() {
    let server = Server::start(&[]);
    let count = scaled(500);
    let streams: Vec<_> = (0..count).map(|_| server.connect()).collect();
    server.wait_until("all are open", |state| state["open"] == count as u64);
    drop(streams);
    server.wait_until("all are closed", |state| {
        state["open"] == 0 && state["closed"] == count as u64
    });
}

#[test]
fn a_half_closed_client_gets_the_rest() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let sent = bytes(7, 0, 100_000);
    stream.write_all(&sent).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    let mut echo = Vec::new();
    stream.read_to_end(&mut echo).expect("all of the echo, then the end");
    assert_eq!(echo.len(), sent.len());
    check(7, 0, &echo);
}

#[test]
fn resets_leave_nothing_behind() {
    let server = Server::start(&[]);
    // The first connection may make a driver open what it keeps.
    converse(&server.connect(), 0, 10);
    server.wait_until("it has gone", |state| state["open"] == 0 && state["closed"] == 1);
    // Where the system does not tell, the counts are looked at all the same.
    let before = server.descriptors();
    let count = scaled(200) as u64;
    for round in 1..=3 {
        let streams: Vec<_> = (0..count).map(|_| server.connect()).collect();
        for (n, mut stream) in streams.into_iter().enumerate() {
            stream.write_all(&bytes(n as u64, 0, 5000)).expect("sent");
            if n % 4 == 0 {
                // In the middle of the echo.
                reset_at_close(&stream);
            } else {
                let mut echo = vec![0; 5000];
                stream.read_exact(&mut echo).expect("echoed");
                check(n as u64, 0, &echo);
            }
        }
        let all = 1 + round * count;
        server.wait_until("all have gone", |state| state["open"] == 0 && state["closed"] == all);
        // A socket closes a moment after its connection is counted as gone.
        let start = Instant::now();
        while server.descriptors() != before {
            assert!(
                start.elapsed() < DEADLINE,
                "{:?} descriptors, {before:?} before",
                server.descriptors()
            );
            thread::yield_now();
        }
    }
    let (code, total) = server.stop();
    assert_eq!((code, total["read"]), (Some(0), total["sent"] + total["unsent"]));
}

#[test]
fn a_stop_without_clients_is_at_once() {
    for signal in [Signal::Stop, Signal::Interrupt] {
        let server = Server::start(&["--grace", "50"]);
        let start = Instant::now();
        server.signal(signal);
        let (code, total) = server.finish();
        assert_eq!((code, total["accepted"]), (Some(0), 0));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_stop_tells_idle_clients_the_end() {
    let server = Server::start(&["--grace", "50"]);
    let streams: Vec<_> = (0..scaled(200)).map(|_| server.connect()).collect();
    for (n, mut stream) in streams.iter().enumerate() {
        stream.write_all(&bytes(n as u64, 0, 100)).expect("sent");
    }
    server.wait_until("all is read", |state| state["read"] == 100 * streams.len() as u64);
    server.signal(Signal::Stop);
    for (n, mut stream) in streams.into_iter().enumerate() {
        let mut echo = Vec::new();
        stream.read_to_end(&mut echo).expect("the echo, then the end");
        assert_eq!(echo.len(), 100);
        check(n as u64, 0, &echo);
    }
    let (code, total) = server.finish();
    assert_eq!(
        (code, total["reset"], total["unsent"], total["closed"]),
        (Some(0), 0, 0, total["accepted"])
    );
}

/// Sends as fast as it can until the server ends the stream; returns how much came back. Fails on a reset.
fn flood(stream: &TcpStream, seed: u64) -> u64 {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            let (mut at, mut stream) = (0, stream);
            while !over.load(SeqCst) {
                let piece = bytes(seed, at, 30_000);
                stream.write_all(&piece).expect("the server reads until this client closes");
                at += piece.len() as u64;
            }
        });
        let (mut at, mut reader, mut echo) = (0, stream, vec![0; 64 * 1024]);
        loop {
            let got = reader.read(&mut echo).expect("an echo or the end, never a reset");
            if got == 0 {
                over.store(true, SeqCst);
                return at;
            }
            check(seed, at, &echo[..got]);
            at += got as u64;
        }
    })
}

#[test]
fn a_stop_under_load_loses_nothing_that_was_read() {
    let server = Server::start(&["--grace", "20"]);
    let count = scaled(16);
    let (echoed, took) = thread::scope(|scope| {
        let clients: Vec<_> = (0..count)
            .map(|n| {
                let stream = server.connect();
                scope.spawn(move || flood(&stream, n as u64))
            })
            .collect();
        server.wait_until("everybody is served", |state| {
            state["open"] == count as u64 && state["sent"] > 2_000_000 * count as u64
        });
        let start = Instant::now();
        server.signal(Signal::Stop);
        let echoed: u64 =
            clients.into_iter().map(|client| client.join().expect("a clean end")).sum();
        (echoed, start.elapsed())
    });
    let (code, total) = server.finish();
    println!("stopped in {took:?}: {total:?}");
    assert_eq!(code, Some(0));
    assert_eq!((total["read"], total["unsent"], total["reset"]), (total["sent"], 0, 0));
    assert_eq!((total["sent"], total["closed"]), (echoed, count as u64));
}

#[test]
fn questions_that_have_arrived_are_answered_before_the_end() {
    let server = Server::start(&["--grace", "20"]);
    let count = scaled(50);
    let asked = thread::scope(|scope| {
        let clients: Vec<_> = (0..count as u64)
            .map(|seed| {
                let mut stream = server.connect();
                scope.spawn(move || {
                    let mut at = 0;
                    loop {
                        stream.write_all(&bytes(seed, at, 64)).expect("sent");
                        let mut echo = [0; 64];
                        let mut got = 0;
                        while got < 64 {
                            match stream
                                .read(&mut echo[got..])
                                .expect("an echo or the end, never a reset")
                            {
                                0 => return (at, got),
                                more => got += more,
                            }
                        }
                        check(seed, at, &echo);
                        at += 64;
                    }
                })
            })
            .collect();
        server.wait_until("everybody has asked", |state| state["sent"] > 6400 * count as u64);
        server.signal(Signal::Stop);
        clients.into_iter().map(|client| client.join().expect("a clean end")).fold(
            0,
            |sum, (asked, part)| {
                // A question leaves in one segment, so it is either answered whole or came too late.
                assert_eq!(part, 0);
                sum + asked
            },
        )
    });
    let (code, total) = server.finish();
    assert_eq!((code, total["read"], total["sent"], total["unsent"]), (Some(0), asked, asked, 0));
}

#[cfg(unix)] // elsewhere there is no such limit, and no shell to set it
#[test]
fn more_clients_than_descriptors_are_served_in_turn() {
    let mut command = std::process::Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n 64; exec \"$0\" serve 127.0.0.1:0 --workers 2 --limit 2",
            env!("CARGO_BIN_EXE_cport"),
        ])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let server = Server::spawn(&mut command);
    let count = scaled(200);
    let streams: Vec<_> = (0..count).map(|_| server.connect()).collect();
    for (n, mut stream) in streams.iter().enumerate() {
        stream.write_all(&bytes(n as u64, 0, 1000)).expect("sent");
    }
    // Those in front leave one by one, and those behind take their places.
    for (n, mut stream) in streams.into_iter().enumerate() {
        let mut echo = vec![0; 1000];
        stream.read_exact(&mut echo).unwrap_or_else(|error| panic!("client {n}: {error}"));
        check(n as u64, 0, &echo);
    }
    server.wait_until("all were served", |state| {
        state["open"] == 0 && state["closed"] == count as u64
    });
    let errors = server.errors();
    let said = errors.iter().filter(|line| line.contains("cannot accept")).count();
    if count > 64 {
        assert_eq!(said, 1, "{errors:?}");
    }
    let (code, total) = server.stop();
    assert_eq!((code, total["accepted"], total["read"]), (Some(0), count as u64, total["sent"]));
}

#[test]
fn a_bound_on_connections_holds() {
    let server = Server::start(&["--max-connections", "2", "--listen", "127.0.0.1:0"]);
    let first = server.connect();
    let second = server.connect();
    converse(&first, 1, 100);
    converse(&second, 2, 100);
    let others: Vec<_> = (0..10).map(|_| server.connect()).collect();
    let state = server.state();
    assert_eq!((state["open"], state["accepted"]), (2, 2));
    drop(first);
    // Each of the others is served when it is its turn, with never more than two at a time.
    for (n, other) in others.into_iter().enumerate() {
        converse(&other, n as u64, 100);
        assert!(server.state()["open"] <= 2);
    }
    drop(second);
    server.wait_until("all have gone", |state| state["open"] == 0 && state["accepted"] == 12);
    let (code, total) = server.stop();
    assert_eq!((code, total["read"]), (Some(0), 1200));
}

#[test]
fn nobody_needs_to_read_its_output() {
    let mut server = Server::start(&[]);
    server.close_stdout();
    for _ in 0..3 {
        server.signal(Signal::Report);
        converse(&server.connect(), 1, 1000);
    }
    drop(server);

    // The pipe is closed before the first line, and the address is not known: the end must be clean all the same.
    let mut command = cport(&["serve", "127.0.0.1:0", "--grace", "0"]);
    let mut child = common::Killed(command.spawn().expect("it starts"));
    drop(child.0.stdout.take());
    let mut errors = String::new();
    // It may not listen for signals yet and die of this one, but it must not panic.
    sys::signal(&child.0, Signal::Stop);
    child.0.stderr.take().expect("its errors").read_to_string(&mut errors).expect("text");
    child.wait();
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn quiet_says_neither_the_first_nor_the_last_line() {
    // Without a first line a script needs the port: one that is free now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address").to_string();
    drop(free);
    let mut child =
        common::Killed(cport(&["serve", &address, "--quiet"]).spawn().expect("it starts"));
    let start = Instant::now();
    let stream = loop {
        match TcpStream::connect(&address) {
            Ok(stream) => break stream,
            Err(error) => assert!(start.elapsed() < DEADLINE, "{error}"),
        }
    };
    converse(&stream, 1, 100);
    drop(stream);
    sys::signal(&child.0, Signal::Stop);
    assert_eq!(child.wait().code(), Some(0));
    let mut said = String::new();
    child.0.stdout.take().expect("its output").read_to_string(&mut said).expect("text");
    assert_eq!(said, "");
}
