//! A server that is warm allocates nothing for an operation, on any driver.

mod util;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{Read, Write},
    net::TcpStream,
};

use completion_port::{Completion, CompletionPort, DriverKind, Handle};

/// The system's, which counts what each thread asks of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: handed on to the system's, one by one.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: handed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: handed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

on_each_driver!(an_echo_allocates_nothing, a_post_allocates_nothing);

type Port = CompletionPort<(), bool>;

/// A message to the server and back, all of it by this thread.
fn echo(port: &Port, server: &Handle<(), bool>, client: &mut TcpStream) {
    server.recv_lent(false).expect("starts");
    client.write_all(b"to and fro").expect("written");
    loop {
        let Completion { handle, result, buffer, context: sent, .. } = util::get(port);
        let count = result.expect("it goes well");
        if sent {
            assert_eq!(count, 10);
            break;
        }
        handle.send(buffer, true).expect("starts");
    }
    client.read_exact(&mut [0; 10]).expect("echoed");
}

/// What this thread asks of the allocator in a thousand rounds, when it has done as many.
fn asked_in_a_thousand(mut round: impl FnMut()) -> usize {
    (0..1000).for_each(|_| round());
    let before = ASKED.get();
    (0..1000).for_each(|_| round());
    ASKED.get() - before
}

fn an_echo_allocates_nothing(driver: DriverKind) {
    let port: Port = util::open(driver);
    let (server, mut client) = util::pair(&port, ());
    let asked = asked_in_a_thousand(|| echo(&port, &server, &mut client));
    assert_eq!(asked, 0);
}

fn a_post_allocates_nothing(driver: DriverKind) {
    let port: Port = util::open(driver);
    let key = port.key(());
    let asked = asked_in_a_thousand(|| {
        key.post(1, true).expect("posted");
        util::get(&port);
    });
    assert_eq!(asked, 0);
}
