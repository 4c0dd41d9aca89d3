//! `cport serve --idle-timeout`: who says nothing, or takes nothing, is closed; who does is not. Both models.

mod common;

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use common::{Server, converse};

/// Short for a test, and long enough for a busy machine to echo in.
const IDLE: Duration = Duration::from_secs(2);
const MODELS: [&[&str]; 2] = [&[], &["--model", "routine"]];

fn start(model: &[&str]) -> Server {
    Server::start(&[&["--idle-timeout", "2", "--grace", "0"], model].concat())
}

/// Not before its time, also if it has spoken before; an orderly end, counted, and no error.
#[test]
fn a_silent_client_is_closed_and_counted() {
    for model in MODELS {
        let server = start(model);
        let before = Instant::now();
        let (mut silent, mut spoke) = (server.connect(), server.connect());
        converse(&spoke, 3, 100);
        assert_eq!(silent.read(&mut [0]).expect("an orderly end"), 0);
        assert!(before.elapsed() >= IDLE, "it is early");
        assert_eq!(spoke.read(&mut [0]).expect("an orderly end"), 0);
        server.wait_until("both are gone", |state| state["open"] == 0 && state["errors"] == 0);
        let (_, served) = server.stop();
        assert_eq!((served["accepted"], served["idle"], served["reset"]), (2, 2, 0), "{model:?}");
    }
}

/// A byte at a time, for longer than the limit.
#[test]
fn a_slow_client_is_not() {
    for model in MODELS {
        let server = start(model);
        let mut slow = server.connect();
        let before = Instant::now();
        while before.elapsed() < IDLE * 2 {
            slow.write_all(b"x").expect("open");
            slow.read_exact(&mut [0]).expect("echoed");
            thread::sleep(IDLE / 10);
        }
        let (_, served) = server.stop();
        assert_eq!(served["idle"], 0, "{model:?}");
    }
}

/// It does not take its echo, so nothing more is received from it.
#[test]
fn a_client_that_never_reads_is_closed() {
    for model in MODELS {
        let server = start(model);
        let mut deaf = server.connect();
        deaf.set_write_timeout(None).expect("an option");
        let piece = vec![1; 1 << 20];
        while deaf.write_all(&piece).is_ok() {}
        server.wait_until("it is gone", |state| state["open"] == 0);
        let (_, served) = server.stop();
        assert_eq!(served["idle"], 1, "{model:?}");
        assert_eq!(served["read"], served["sent"] + served["unsent"]);
    }
}
