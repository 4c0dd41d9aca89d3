//! `Completion` and `OpKind`: what the promises do not say.

use std::{io::Write, net::TcpListener, thread};

use crate::util::{dial, get, pair};
use completion_port::{Buffer, Completion, CompletionPort, OpKind};

#[test]
fn is_small_and_goes_to_any_thread() {
    const fn sent<T: Send>() {}
    const { sent::<Completion<String, std::cell::Cell<u8>>>() }
    const { assert!(size_of::<Completion<(), ()>>() <= 128) }
}

/// The fields are moved out, one here, one there; there is no `Drop` in the way.
#[test]
fn comes_apart() {
    let port = CompletionPort::<String, String>::new().expect("a port");
    let (server, mut client) = pair(&port, "key".to_owned());
    server.recv(Buffer::with_capacity(16), "context".to_owned()).expect("started");
    client.write_all(b"data").expect("written");
    let Completion { handle, result, buffer, context, .. } = get(&port);
    let (key, context, bytes): (String, String, Vec<u8>) =
        (handle.key().clone(), context, buffer.into());
    assert_eq!(
        (key.as_str(), context.as_str(), &bytes[..], result.expect("received")),
        ("key", "context", &b"data"[..], 4)
    );
    assert!(handle == server);
    // On another thread than the one that took it.
    handle.post(1, "moved".to_owned()).expect("open");
    let done = get(&port);
    let context = thread::spawn(move || done.context).join().expect("no panic");
    assert_eq!(context, "moved");
}

#[test]
fn gives_an_accepted_socket_once() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialled = listener.try_clone().expect("a duplicate");
    port.associate(listener, ()).expect("associated").accept(()).expect("started");
    let client = dial(&dialled);
    let mut done = get(&port);
    assert!(done.buffers().is_empty(), "there are none, and asking costs nothing");
    let accepted = done.accepted().expect("a socket");
    assert_eq!(accepted.peer_addr().expect("connected"), client.local_addr().expect("connected"));
    assert!(done.accepted().is_none());
}

#[test]
fn gives_the_buffers_of_a_gathered_send_once() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let (server, _client) = pair(&port, ());
    let parts = vec![Buffer::from(vec![1, 2]), Buffer::with_capacity(9), Buffer::from(vec![3])];
    let places: Vec<_> = parts.iter().map(|buffer| buffer.as_ptr()).collect();
    server.send_vectored(parts, ()).expect("started");
    let mut done = get(&port);
    assert!(done.accepted().is_none() && done.buffer.is_empty());
    let back = done.buffers();
    assert!(
        back.iter().map(|buffer| buffer.as_ptr()).eq(places),
        "the very ones, in their order, empty ones too"
    );
    assert!(done.buffers().is_empty());
    assert_eq!(done.result.expect("sent"), 3);
}

#[test]
fn debug_asks_nothing_of_key_and_context() {
    struct Silent;
    let port = CompletionPort::<Silent, Silent>::new().expect("a port");
    port.key(Silent).post(5, Silent).expect("open");
    let text = format!("{:?}", get(&port));
    assert!(text.contains("Post") && text.contains("Ok(5)"), "{text}");
}

#[test]
fn kinds_have_one_word_each() {
    let kinds = [
        (OpKind::Recv, "recv"),
        (OpKind::RecvLent, "recv_lent"),
        (OpKind::Send, "send"),
        (OpKind::Accept, "accept"),
        (OpKind::AcceptEach, "accept_each"),
        (OpKind::AcceptWith, "accept_with"),
        (OpKind::Connect, "connect"),
        (OpKind::End, "end"),
        (OpKind::Disconnect, "disconnect"),
        (OpKind::TransmitFile, "transmit_file"),
        (OpKind::Post, "post"),
    ];
    for (kind, word) in kinds {
        assert_eq!((kind.name(), kind.to_string().as_str()), (word, word));
    }
    assert!(kinds.windows(2).all(|two| two[0].0 < two[1].0));
}
