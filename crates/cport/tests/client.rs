//! `cport client`, from outside.

mod common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    thread,
};

use common::{
    Killed, Server, assert_refused, bytes, check, cport, output, output_of, reset_at_close, said,
    sys,
};

/// Runs the client as a filter on `input`.
fn filter(address: SocketAddr, input: Vec<u8>) -> std::process::Output {
    let mut child = client(address);
    let mut stdin = child.stdin.take().expect("its input");
    // It may end before it has read everything.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = output_of(child);
    let _ = writer.join().expect("the writer ends");
    output
}

/// Starts the client with a pipe for its input.
fn client(address: SocketAddr) -> Child {
    cport(&["client", &address.to_string()]).stdin(Stdio::piped()).spawn().expect("it starts")
}

/// A server of one connection that does as it likes.
fn strange_server(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || serve(listener.accept().expect("a client").0));
    address
}

#[test]
fn a_file_comes_back_byte_for_byte() {
    let server = Server::start(&[]);
    for size in [0, 1, 65_536, 20_000_001] {
        let (code, stderr, echo) = {
            let output = filter(server.addresses[0], bytes(5, 0, size));
            (output.status.code(), said(&output).2, output.stdout)
        };
        assert_eq!((code, stderr.as_str(), echo.len()), (Some(0), "", size));
        check(5, 0, &echo);
    }
}

#[test]
fn an_answer_comes_before_the_end_of_the_input() {
    let server = Server::start(&[]);
    let mut child = Killed(client(server.addresses[0]));
    let (mut stdin, mut stdout) =
        (child.0.stdin.take().expect("its input"), child.0.stdout.take().expect("its output"));
    for n in 0..20 {
        stdin.write_all(&bytes(n, 0, 100)).expect("sent");
        let mut echo = [0; 100];
        stdout.read_exact(&mut echo).expect("echoed");
        check(n, 0, &echo);
    }
    drop(stdin);
    assert_eq!(child.wait().code(), Some(0));
}

#[test]
fn nobody_listens() {
    let closed =
        TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let words = [&closed.to_string() as &str, "nobody listens", "cport serve"];
    assert_refused(&output(&mut cport(&["client", &closed.to_string()])), 1, &words);
}

#[test]
fn a_server_that_closes_early_is_told() {
    let address = strange_server(|mut stream| {
        let mut part = vec![0; 1000];
        stream.read_exact(&mut part).expect("the first part");
        stream.write_all(&part).expect("echoed");
        stream.shutdown(std::net::Shutdown::Write).expect("closed early");
        // Read on, so that it is an end and not a reset.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let output = filter(address, bytes(1, 0, 5000));
    assert_refused(&output, 1, &["closed the connection early", "1000 of 5000 bytes"]);
    assert_eq!(output.stdout.len(), 1000);
}

#[test]
fn a_server_that_closes_an_idle_client_is_told() {
    let address = strange_server(|mut stream| {
        let mut part = vec![0; 10];
        stream.read_exact(&mut part).expect("the first part");
        stream.write_all(&part).expect("echoed");
    });
    // The input stays open: the client must not wait for it.
    let mut child = Killed(client(address));
    let mut stdin = child.0.stdin.take().expect("its input");
    stdin.write_all(&[1; 10]).expect("sent");
    assert_eq!(child.wait().code(), Some(1));
    let mut stderr = String::new();
    child.0.stderr.take().expect("its errors").read_to_string(&mut stderr).expect("text");
    assert_eq!(
        stderr,
        "cport: the server closed the connection after 10 bytes, before the end of the input\n"
    );
}

#[test]
fn a_wrong_echo_is_told() {
    let address = strange_server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("everything");
        all[70_000] ^= 1;
        let _ = stream.write_all(&all);
    });
    assert_refused(&filter(address, bytes(1, 0, 200_000)), 1, &["differs", "from byte 65536"]);

    let address = strange_server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("everything");
        all.push(0);
        let _ = stream.write_all(&all);
    });
    assert_refused(&filter(address, bytes(1, 0, 100)), 1, &["more came back", "101 bytes for 100"]);
}

#[test]
fn a_reset_is_told() {
    if !sys::has_resets() {
        return println!("there are no resets here: nothing to test");
    }
    let address = strange_server(|mut stream| {
        // Not before the client is connected and has sent something.
        stream.read_exact(&mut [0; 10]).expect("the first part");
        reset_at_close(&stream);
    });
    let mut child = Killed(client(address));
    let mut stdin = child.0.stdin.take().expect("its input");
    stdin.write_all(&[1; 10]).expect("sent");
    assert_eq!(child.wait().code(), Some(1));
    let mut stderr = String::new();
    child.0.stderr.take().expect("its errors").read_to_string(&mut stderr).expect("text");
    assert!(
        stderr.starts_with("cport: the connection failed after 0 bytes had come back: "),
        "{stderr}"
    );
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let server = Server::start(&[]);
    let mut child = client(server.addresses[0]);
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("its input");
    let writer = thread::spawn(move || {
        let piece = [0; 65_536];
        while stdin.write_all(&piece).is_ok() {}
    });
    let output = output_of(child);
    writer.join().expect("the writer ends");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
}

#[cfg(target_os = "linux")]
// terminals are made in another way on each system; what is said on one is tested in the command itself
#[test]
fn on_a_terminal_it_is_the_client_of_the_notes() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let server = Server::start(&[]);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let here = openpt(flags).expect("a terminal");
    grantpt(&here).expect("granted");
    unlockpt(&here).expect("unlocked");
    let name = ptsname(&here, Vec::new()).expect("its name").into_string().expect("text");
    let there =
        std::fs::OpenOptions::new().read(true).write(true).open(name).expect("its other end");
    let child = cport(&["client", &server.addresses[0].to_string()])
        .stdin(there)
        .spawn()
        .expect("it starts");
    let mut child = Killed(child);
    let mut here = std::fs::File::from(here);
    here.write_all(b"hello, port\nQ\n").expect("typed");
    assert_eq!(child.wait().code(), Some(0));
    let mut said = String::new();
    child.0.stdout.take().expect("its output").read_to_string(&mut said).expect("text");
    assert_eq!(
        said,
        "Input message(Q to Quit): Message from server: hello, port\nInput message(Q to Quit): "
    );
}
