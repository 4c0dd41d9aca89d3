//! A chat server: rooms, one shared buffer for all receivers of a line, and a slow reader is dropped rather than waited for.
//!
//! `cargo run -p completion-port --example chat [ADDRESS]`, then `nc 127.0.0.1 9190` from several terminals. A line goes to everybody
//! else in the room; `/join ROOM` changes rooms, `/who` counts who is there.

use std::{
    collections::{HashMap, VecDeque},
    env, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use completion_port::{Buffer, Completion, CompletionPort, Handle};

/// The completion key: one port serves the listener and its clients.
enum Key {
    Listener,
    Client(Client),
}

/// Per-handle data.
struct Client {
    peer: SocketAddr,
    said: Mutex<Said>,
}

/// What one client has said so far. One receive is out at a time, so the lock is never waited for.
struct Said {
    room: String,
    unfinished: VecDeque<u8>,
}

/// Per-I/O data.
enum What {
    Accepted,
    Heard,
    Told,
}

type Port = CompletionPort<Key, What>;
type Member = Handle<Key, What>;

/// A client that says more without a line end is no chat client.
const LONGEST_LINE: usize = 4096;
/// Lines that may wait for one reader. One more, and it is dropped.
const PATIENCE: usize = 256;

#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Vec<Member>>>);

#[allow(dead_code, reason = "the test of this example starts it by `serve`")]
fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9190".to_owned());
    serve(TcpListener::bind(address)?)
}

/// Serves until the port fails, which it does not.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    // CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0)
    let port: Port = CompletionPort::builder().queue_limit(PATIENCE).build()?;
    println!("chatting on {}, driver {}", listener.local_addr()?, port.driver());
    // CreateIoCompletionPort(listener, port, key, 0), and AcceptEx again and again
    let listener = port.associate(listener, Key::Listener)?;
    listener.accept_each(|| What::Accepted)?;
    let rooms = Rooms::default();
    thread::scope(|s| {
        for _ in 0..port.concurrency() {
            s.spawn(|| work(&port, &rooms));
        }
    });
    Ok(())
}

fn work(port: &Port, rooms: &Rooms) {
    // GetQueuedCompletionStatus(port, &bytes, &key, &overlapped, INFINITE)
    while let Ok(mut done) = port.get() {
        let handle = done.handle.clone();
        match (handle.key(), &done.context) {
            (Key::Listener, _) => welcome(port, rooms, &mut done),
            (Key::Client(client), What::Heard) => hear(rooms, &handle, client, &done),
            // A line has left, or its reader is gone, which its receive tells.
            (Key::Client(_), _) => {}
        }
    }
}

fn welcome(port: &Port, rooms: &Rooms, done: &mut Completion<Key, What>) {
    let Some(stream) = done.accepted() else {
        return eprintln!("no more clients: {:?}", done.result);
    };
    let Ok(peer) = stream.peer_addr() else { return };
    let said = Said { room: "lobby".to_owned(), unfinished: VecDeque::new() };
    let key = Key::Client(Client { peer, said: Mutex::new(said) });
    match port.associate(stream, key) {
        Ok(member) => {
            rooms.lock().entry("lobby".to_owned()).or_default().push(member.clone());
            rooms.tell("lobby", &member, format!("* {peer} has come\n"));
            // WSARecv: an idle member holds no buffer.
            if member.recv_lent(What::Heard).is_err() {
                rooms.leave("lobby", &member);
            }
        }
        Err(refused) => eprintln!("{peer}: {refused}"),
    }
}

fn hear(rooms: &Rooms, member: &Member, client: &Client, done: &Completion<Key, What>) {
    let mut said = lock(&client.said);
    said.unfinished.extend(&done.buffer[..]);
    while let Some(end) = said.unfinished.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = said.unfinished.drain(..=end).collect();
        obey(rooms, member, client, &mut said, String::from_utf8_lossy(&line).trim_end());
    }
    let gone = !matches!(done.result, Ok(1..)) || said.unfinished.len() > LONGEST_LINE;
    if gone || member.recv_lent(What::Heard).is_err() {
        rooms.leave(&said.room, member);
        rooms.tell(&said.room, member, format!("* {} has gone\n", client.peer));
        member.close(); // closesocket
    }
}

fn obey(rooms: &Rooms, member: &Member, client: &Client, said: &mut Said, line: &str) {
    if let Some(room) = line.strip_prefix("/join ") {
        rooms.leave(&said.room, member);
        rooms.tell(&said.room, member, format!("* {} has gone to {room}\n", client.peer));
        said.room = room.to_owned();
        rooms.lock().entry(said.room.clone()).or_default().push(member.clone());
        rooms.tell(room, member, format!("* {} has come\n", client.peer));
    } else if line == "/who" {
        let count = rooms.lock().get(&said.room).map_or(0, Vec::len);
        let answer = format!("* {count} in {}\n", said.room);
        let _ = member.send(Buffer::from(answer.into_bytes()), What::Told);
    } else {
        rooms.tell(&said.room, member, format!("{}: {line}\n", client.peer));
    }
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Member>>> {
        lock(&self.0)
    }

    /// The same bytes to everybody else in the room: one allocation, however many there are.
    fn tell(&self, room: &str, from: &Member, line: String) {
        let line: Arc<[u8]> = line.into_bytes().into();
        let mut slow = Vec::new();
        {
            let mut rooms = self.lock();
            let Some(members) = rooms.get_mut(room) else { return };
            members.retain(|member| {
                // WSASend. Refused when too many lines wait already (WSAEWOULDBLOCK), or the member is closed.
                let told =
                    member == from || member.send(Buffer::from(line.clone()), What::Told).is_ok();
                if !told {
                    slow.push(member.clone());
                }
                told
            });
        }
        // Its receive ends with an error, and that is its leave.
        slow.iter().for_each(Handle::close);
    }

    fn leave(&self, room: &str, member: &Member) {
        let mut rooms = self.lock();
        if let Some(members) = rooms.get_mut(room) {
            members.retain(|other| other != member);
            if members.is_empty() {
                rooms.remove(room);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
