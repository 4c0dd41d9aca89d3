//! The programs of the notes, and the chat, talked to by real clients.

#[path = "../examples/chat.rs"]
mod chat;
#[path = "../examples/echo_client.rs"]
mod echo_client;
#[path = "../examples/event_echo_server.rs"]
mod event_echo_server;
#[path = "../examples/file_server.rs"]
mod file_server;
#[path = "../examples/iocp_echo_server.rs"]
mod iocp_echo_server;
#[path = "../examples/overlapped_echo_server.rs"]
mod overlapped_echo_server;
mod util;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

/// A server on a free port. It serves until the test process ends.
fn start(serve: fn(TcpListener) -> std::io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || serve(listener));
    address
}

#[test]
fn the_notes_client_talks_to_the_notes_servers() {
    talk_to(iocp_echo_server::serve);
    talk_to(overlapped_echo_server::serve);
    talk_to(event_echo_server::serve);
}

fn talk_to(serve: fn(TcpListener) -> std::io::Result<()>) {
    let server = TcpStream::connect(start(serve)).expect("connected");
    let mut output = Vec::new();
    echo_client::talk(server, &b"hello\nsecond line\nQ\nnot sent\n"[..], &mut output)
        .expect("no error");
    let prompt = "Input message(Q to Quit): ";
    let expected = format!(
        "{prompt}Message from server: hello\n{prompt}Message from server: second line\n{prompt}"
    );
    assert_eq!(String::from_utf8_lossy(&output), expected);
}

/// A thousand at once, each with bytes of its own, more than a buffer of the server holds.
#[test]
fn the_first_server_of_the_notes_serves_a_thousand_clients() {
    let count = util::scaled("clients of the overlapped server", 1000, 2);
    echo_for_many(overlapped_echo_server::serve, count);
}

/// More events than a wait on Windows takes.
#[test]
fn the_server_with_events_serves_two_hundred_clients() {
    let count = util::scaled("clients of the server with events", 200, 2);
    echo_for_many(event_echo_server::serve, count);
}

fn echo_for_many(serve: fn(TcpListener) -> std::io::Result<()>, count: usize) {
    let address = start(serve);
    let mut clients = Vec::with_capacity(count);
    for n in 0..count {
        let mut client = util::patient(TcpStream::connect(address).expect("connected"));
        // A backlog is short: what does not fit connects a second later.
        if n % 100 == 99 {
            client.write_all(b"x").expect("sent");
            client.read_exact(&mut [0]).expect("echoed");
        }
        clients.push(client);
    }
    for round in 0..2 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.write_all(&util::pattern(n * 7919 + round, 3000)).expect("sent");
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let mut back = vec![0; 3000];
            client.read_exact(&mut back).expect("echoed");
            util::assert_same(&back, &util::pattern(n * 7919 + round, 3000), "the echo");
        }
    }
    for mut client in clients {
        client.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(client.read(&mut [0]).expect("an orderly end"), 0);
    }
}

struct Chatter(BufReader<TcpStream>);

impl Chatter {
    fn enter(address: SocketAddr) -> Self {
        Self(BufReader::new(util::patient(TcpStream::connect(address).expect("connected"))))
    }

    fn say(&mut self, line: &str) {
        writeln!(self.0.get_mut(), "{line}").expect("said");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("heard");
        line.trim_end().to_owned()
    }

    fn name(&self) -> SocketAddr {
        self.0.get_ref().local_addr().expect("bound")
    }
}

#[test]
fn chatters_hear_each_other_in_their_room() {
    let address = start(chat::serve);
    let mut ann = Chatter::enter(address);
    ann.say("/who");
    assert_eq!(ann.hear(), "* 1 in lobby");
    let mut bob = Chatter::enter(address);
    assert_eq!(ann.hear(), format!("* {} has come", bob.name()));
    bob.say("hello");
    assert_eq!(ann.hear(), format!("{}: hello", bob.name()));
    ann.say("/join den");
    assert_eq!(bob.hear(), format!("* {} has gone to den", ann.name()));
    ann.say("/who");
    assert_eq!(ann.hear(), "* 1 in den");
    bob.say("/join den");
    assert_eq!(ann.hear(), format!("* {} has come", bob.name()));
    drop(bob);
    assert!(ann.hear().ends_with("has gone"));
}

/// A reader that does not read is dropped when too much waits for it; the others hear everything.
#[test]
fn a_slow_reader_is_dropped() {
    let address = start(chat::serve);
    let slow = Chatter::enter(address);
    let mut teller = Chatter::enter(address);
    let line = "x".repeat(3000);
    let gone = format!("* {} has gone", slow.name());
    teller.say("/who");
    while teller.hear() != gone {
        // The socket's buffers are filled first, then the queue of the handle: some megabytes.
        for _ in 0..64 {
            teller.say(&line);
        }
        teller.say("/who");
    }
    teller.say("/who");
    while teller.hear() != "* 1 in lobby" {}
}

/// Several at once, one that connects and says nothing, and one that ends without a word.
#[test]
fn the_file_server_sends_head_file_and_tail() {
    const LEN: usize = 3 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let path = std::env::temp_dir().join(format!("file-server-{}", std::process::id()));
    std::fs::write(&path, util::pattern(0, LEN)).expect("written");
    let file = std::fs::File::open(&path).expect("a file");
    util::sys::unname(&path);
    thread::spawn(move || file_server::serve(listener, file));
    let connect = || util::patient(TcpStream::connect(address).expect("connected"));
    let silent = connect();
    drop(connect());
    let all = [
        format!("FILE {LEN}\n").as_bytes(),
        &util::pattern(0, LEN),
        format!("\nEND {LEN}\n").as_bytes(),
    ]
    .concat();
    thread::scope(|s| {
        for _ in 0..20 {
            s.spawn(|| {
                let mut client = connect();
                client.write_all(b"please\n").expect("sent");
                let mut got = Vec::new();
                client.read_to_end(&mut got).expect("an orderly end");
                util::assert_same(&got, &all, "the answer");
            });
        }
    });
    drop(silent);
}
