//! `CompletionPort`, `Builder`, `CloseOnDrop` and `GetError`: what the promises do not say.

use std::{
    cell::Cell,
    error::Error,
    io,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::util::{get, pair, until};
use completion_port::{Builder, CloseOnDrop, CompletionPort, GetError, PoolOptions};

/// One owner, shared by reference with every thread, though a context may be of no use to two threads at once.
#[test]
fn is_shared_by_reference() {
    const fn shared<T: Send + Sync>() {}
    const { shared::<CompletionPort<Arc<()>, Cell<u8>>>() }
    const { shared::<CloseOnDrop<'_, Arc<()>, Cell<u8>>>() }
    const { shared::<Builder>() }
    const { shared::<GetError>() }

    // Compiles only as long as the port is not Clone: otherwise both implementations fit.
    trait NotClone<X> {
        const OK: () = ();
    }
    impl<T> NotClone<()> for T {}
    impl<T: Clone> NotClone<u8> for T {}
    const { <CompletionPort<(), ()> as NotClone<_>>::OK }

    let port = Arc::new(CompletionPort::<(), Cell<u8>>::new().expect("a port"));
    let other = port.clone();
    thread::spawn(move || other.key(()).post(0, Cell::new(7)).expect("open"))
        .join()
        .expect("no panic");
    assert_eq!(get(&port).context.get(), 7);
}

/// S9.
#[test]
fn the_limit_is_given_or_the_number_of_cpus() {
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    assert_eq!(CompletionPort::<(), ()>::new().expect("a port").concurrency(), cpus);
    for (limit, concurrency) in
        [(0, cpus), (1, 1), (1000, 1000), (u32::MAX as usize, u32::MAX as usize)]
    {
        let port: CompletionPort<(), ()> =
            CompletionPort::builder().limit(limit).build().expect("a port");
        assert_eq!(port.concurrency(), concurrency);
    }
}

#[test]
fn debug_tells_the_driver() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let text = format!("{port:?} {:?} {:?}", port.close_on_drop(), CompletionPort::builder());
    assert!(text.contains(port.driver().reason()), "{text}");
}

/// A limit of no waiting operation at all would refuse the second of two.
#[test]
fn a_queue_limit_of_none_is_one() {
    let port: CompletionPort<(), u8> =
        CompletionPort::builder().queue_limit(0).build().expect("a port");
    let (server, _client) = pair(&port, ());
    server.recv_lent(0).expect("with the driver");
    server.recv_lent(1).expect("waits");
    assert_eq!(server.recv_lent(2).expect_err("too many").error.kind(), io::ErrorKind::WouldBlock);
}

/// The default bound of queued operations, and what it is for.
#[test]
fn many_operations_may_wait_but_not_without_bound() {
    let port = CompletionPort::<(), usize>::new().expect("a port");
    let (server, _client) = pair(&port, ());
    let started = (0..).take_while(|n| server.recv_lent(*n).is_ok()).count();
    assert_eq!(started, 1 + 1024);
    assert_eq!(server.cancel_all(), started);
    assert!(crate::util::take(&port, started).iter().all(|done| done.result.is_err()));
}

#[test]
fn options_that_cannot_be_met_are_an_error() {
    for pool in [
        PoolOptions::new().limit(0),
        PoolOptions::new().limit(32_769),
        PoolOptions::new().buffer_size(0),
        PoolOptions::new().buffer_size(usize::MAX),
        PoolOptions::new().buffer_size(3 << 30).limit(1),
    ] {
        let error =
            CompletionPort::builder().pool(pool).build::<(), ()>().expect_err("not to be had");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("pool"), "{error}");
    }
}

#[test]
fn a_guard_closes_also_when_there_is_a_panic() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let panic = catch_unwind(AssertUnwindSafe(|| {
        thread::scope(|s| {
            let _close = port.close_on_drop();
            for _ in 0..3 {
                s.spawn(|| while port.get().is_ok() {});
            }
            until("all wait", || port.snapshot().waiting_threads == 3);
            panic!("as planned");
        });
    }));
    assert_eq!(panic.expect_err("it comes out").downcast_ref(), Some(&"as planned"));
    assert!(matches!(port.get(), Err(GetError::Closed)));
}

#[test]
fn get_errors_say_what_they_are() {
    let port = CompletionPort::<(), ()>::new().expect("a port");
    let timed_out = port.get_timeout(Duration::ZERO).expect_err("nothing is there");
    assert_eq!(timed_out.to_string(), "no packet came in time");
    assert!(timed_out.source().is_none());
    assert_eq!(io::Error::from(timed_out).kind(), io::ErrorKind::TimedOut);

    let failed = port.get_many(&mut Vec::new(), 0, None).expect_err("S30");
    assert!(failed.to_string().contains("a batch of no packets"), "{failed}");
    assert!(failed.source().is_some());
    assert_eq!(io::Error::from(failed).kind(), io::ErrorKind::InvalidInput);

    port.close();
    let closed = port.get().expect_err("closed");
    assert_eq!(closed.to_string(), "the completion port is closed");
    assert_eq!(io::Error::from(closed).kind(), io::ErrorKind::NotConnected);
}

/// Two ports in one process, one thread: a packet comes to the port of its handle.
#[test]
fn ports_do_not_mix() {
    let (one, other) = (
        CompletionPort::<u8, u8>::new().expect("a port"),
        CompletionPort::<u8, u8>::new().expect("a port"),
    );
    let ((server, mut client), (other_server, mut other_client)) = (pair(&one, 1), pair(&other, 2));
    server.recv_lent(1).expect("started");
    other_server.recv_lent(2).expect("started");
    io::Write::write_all(&mut client, b"one").expect("written");
    io::Write::write_all(&mut other_client, b"other").expect("written");
    let done = get(&other);
    assert_eq!((*done.handle.key(), done.context, &done.buffer[..]), (2, 2, &b"other"[..]));
    let done = get(&one);
    assert_eq!((*done.handle.key(), done.context, &done.buffer[..]), (1, 1, &b"one"[..]));
}
