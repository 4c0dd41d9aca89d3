//! Tests of the test: each fault of an echo server for datagrams is seen by the program `datagrams`.
#![cfg(target_os = "linux")]

use std::{
    net::{SocketAddr, UdpSocket},
    process::Command,
    thread,
};

/// An echo server that echoes the `n`-th datagram as often as `fault` says, and may change it.
fn toy(mut fault: impl FnMut(u64, &mut Vec<u8>) -> usize + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut room = vec![0; 1 << 16];
        for n in 0.. {
            let Ok((size, peer)) = socket.recv_from(&mut room) else { return };
            let mut bytes = room[..size].to_vec();
            for _ in 0..fault(n, &mut bytes) {
                let _ = socket.send_to(&bytes, peer);
            }
        }
    });
    address
}

/// The exit code of the program, and its line.
fn check(server: SocketAddr, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_datagrams"))
        .arg(server.to_string())
        .args(["--count", "500", "--patience-ms", "2000"])
        .args(more)
        .output()
        .expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the line says under that name.
fn number(line: &str, name: &str) -> u64 {
    line.split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        .unwrap_or_else(|| panic!("{name} is not in: {line}"))
}

#[test]
fn a_server_without_a_fault_passes() {
    let (code, line) = check(toy(|_, _| 1), &["--window", "8"]);
    assert_eq!(code, Some(0), "{line}");
    assert!(line.contains(" sent=500 ") && line.trim_end().ends_with(" ok"), "{line}");
}

/// Far more than any socket keeps: what is lost, the kernel has counted.
#[test]
fn what_the_kernel_drops_is_no_fault() {
    let slow = |n: u64, _: &mut Vec<u8>| {
        if n == 0 {
            thread::sleep(std::time::Duration::from_millis(200));
        }
        1
    };
    let (code, line) = check(toy(slow), &["--window", "1000000"]);
    assert_eq!(code, Some(0), "{line}");
    assert!(!line.contains(" dropped_server=0 "), "nothing was dropped: {line}");
}

#[test]
fn one_that_is_swallowed_is_seen() {
    let (code, line) = check(toy(|n, _| usize::from(n != 100)), &["--window", "8"]);
    assert_eq!(code, Some(1), "{line}");
    // The kernel may drop some, too; one more is missing than it has counted.
    let [missing, by_server, by_client] =
        ["missing", "dropped_server", "dropped_client"].map(|name| number(&line, name));
    assert_eq!(missing, by_server + by_client + 1, "{line}");
}

#[test]
fn one_that_is_changed_or_cut_is_seen() {
    for cut in [false, true] {
        let change = move |_, bytes: &mut Vec<u8>| {
            if bytes.len() == 65_507 {
                if cut { bytes.truncate(65_506) } else { bytes[60_000] ^= 1 }
            }
            1
        };
        let (code, line) = check(toy(change), &["--window", "8"]);
        assert_eq!(code, Some(1), "{line}");
        assert!(!line.contains(" wrong=0 "), "{line}");
    }
}

#[test]
fn one_that_comes_twice_is_seen() {
    let (code, line) = check(toy(|n, bytes| 1 + usize::from(n > 250 && bytes.len() > 8)), &[]);
    assert_eq!(code, Some(1), "{line}");
}
