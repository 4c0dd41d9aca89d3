//! Promise 9, panic: whoever panics, the port lives on and loses nothing.

use std::{
    io::{Read, Write},
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind, Handle, OpKind, error::Situation};

use crate::util::{
    assert_nothing_left, child::alone, dial, drivers, get, open, pair, pattern, situation, take,
    until,
};

crate::on_each_driver!(
    of_a_worker,
    of_a_context_that_is_dropped_with_the_port,
    of_a_key_that_is_dropped_with_its_last_packet,
    of_a_maker_at_the_start,
    of_a_maker_in_get,
    a_maker_may_use_its_handle,
    a_maker_may_use_its_handle_when_it_is_dropped,
);

/// Is counted, and panics the first time that one is dropped.
struct Volatile {
    alive: Arc<AtomicUsize>,
    spent: Arc<AtomicBool>,
}

impl Volatile {
    fn new(alive: &Arc<AtomicUsize>, spent: &Arc<AtomicBool>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { alive: alive.clone(), spent: spent.clone() }
    }
}

impl Drop for Volatile {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
        if !self.spent.swap(true, Ordering::Relaxed) && !thread::panicking() {
            panic!("as planned");
        }
    }
}

/// It panics with a packet in its hands, while another waits: the other goes on, and the first one's connection is closed.
fn of_a_worker(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (unlucky, mut client) = pair(&port, ());
    let (lucky, mut other) = pair(&port, ());
    unlucky.recv_lent(1).expect("started");
    lucky.recv_lent(2).expect("started");
    drop(unlucky);
    thread::scope(|s| {
        let worker = s.spawn(|| {
            let done = get(&port);
            assert_ne!(done.context, 1, "as planned");
        });
        client.write_all(b"boom").expect("written");
        worker.join().expect_err("it has panicked");
    });
    let _whatever_it_says = client.read(&mut [0]);
    assert_eq!(port.snapshot().pool.lent, 0, "the lent buffer is back");
    other.write_all(b"fine").expect("written");
    let done = get(&port);
    assert_eq!((done.context, &done.buffer[..]), (2, &b"fine"[..]));
    assert_nothing_left(&port);
}

fn of_a_context_that_is_dropped_with_the_port(driver: DriverKind) {
    let (alive, spent) = (Arc::default(), Arc::default());
    let port = open::<(), Volatile>(driver);
    let context = || Volatile::new(&alive, &spent);
    let (server, _client) = pair(&port, ());
    let (busy, _busy_client) = pair(&port, ());
    port.key(()).post(0, context()).expect("open");
    for _ in 0..3 {
        server.recv(Buffer::with_capacity(1), context()).expect("started");
        busy.send(pattern(0, 8 << 20).into(), context()).expect("started");
    }
    port.key(()).post(0, context()).expect("open");
    let panic =
        catch_unwind(AssertUnwindSafe(|| drop(port))).expect_err("the panic is not swallowed");
    assert_eq!(panic.downcast_ref(), Some(&"as planned"));
    assert_eq!(alive.load(Ordering::Relaxed), 0, "the others are freed");
    assert!(server.recv_lent(Volatile::new(&alive, &spent)).is_err());
}

fn of_a_key_that_is_dropped_with_its_last_packet(driver: DriverKind) {
    let (alive, spent) = (Arc::default(), Arc::default());
    let port = open::<Volatile, ()>(driver);
    let (server, client) = pair(&port, Volatile::new(&alive, &spent));
    let (other, mut other_client) = pair(&port, Volatile::new(&alive, &spent));
    server.recv_lent(()).expect("started");
    other.recv_lent(()).expect("started");
    drop(server);
    drop(client);
    let done = get(&port);
    catch_unwind(AssertUnwindSafe(|| drop(done))).expect_err("the panic is its owner's");
    assert_eq!((alive.load(Ordering::Relaxed), port.snapshot().handles), (1, 1));
    other_client.write_all(b"x").expect("written");
    assert_eq!(&get(&port).buffer[..], b"x");
    drop(other);
    assert_eq!((alive.load(Ordering::Relaxed), port.snapshot().handles), (0, 0));
}

/// A listener, and a second one on the same socket to dial.
fn listener(port: &CompletionPort<(), u32>) -> (Handle<(), u32>, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dialled = listener.try_clone().expect("a duplicate");
    (port.associate(listener, ()).expect("associated"), dialled)
}

/// The first context is made where the call is: so is its panic, and nothing has started.
fn of_a_maker_at_the_start(driver: DriverKind) {
    let port = open::<(), u32>(driver);
    let (listener, _) = listener(&port);
    catch_unwind(AssertUnwindSafe(|| listener.accept_each(|| panic!("as planned"))))
        .expect_err("the panic comes out");
    assert_nothing_left(&port);
    listener.accept(1).expect("started");
    assert_eq!(listener.cancel_all(), 1);
    assert_eq!(get(&port).context, 1);
}

/// What a maker that panics at its third context leaves: how many packets came, and whether the accept goes on.
fn maker_that_panics(driver: DriverKind) -> (usize, bool) {
    let port = open::<(), u32>(driver);
    let (listener, dialled) = listener(&port);
    let mut next = 0;
    listener
        .accept_each(move || {
            next += 1;
            assert_ne!(next, 3, "as planned");
            next
        })
        .expect("started");
    let mut clients = Vec::new();
    let (mut packets, mut panics) = (0, 0);
    while panics == 0 {
        clients.push(dial(&dialled));
        match catch_unwind(AssertUnwindSafe(|| get(&port))) {
            Ok(mut done) => {
                assert!(done.accepted().is_some());
                packets += 1;
                assert_eq!(done.context, packets, "in order");
            }
            Err(_) => panics += 1,
        }
        assert!(clients.len() < 10, "the panic is swallowed");
    }
    // The port lives, whatever has become of the accept; a packet that was made before the panic is not lost.
    port.key(()).post(0, 77).expect("open");
    loop {
        let done = get(&port);
        if done.context == 77 {
            break;
        }
        packets += 1;
        assert_eq!(done.context, packets, "in order");
    }
    let goes_on = port.snapshot().in_flight.iter().any(|one| one.kind == OpKind::AcceptEach);
    (packets as usize, goes_on)
}

fn of_a_maker_in_get(driver: DriverKind) {
    let (packets, _) = maker_that_panics(driver);
    assert_eq!(packets, 2, "two contexts were made, and two packets came");
}

/// Promise 10.
#[test]
fn of_a_maker_is_the_same_on_every_driver() {
    let outcomes: Vec<_> = drivers::available()
        .into_iter()
        .map(|driver| (driver, maker_that_panics(driver)))
        .collect();
    assert!(
        outcomes.windows(2).all(|two| two[0].1 == two[1].1),
        "(how many packets, does the accept go on): {outcomes:?}"
    );
}

/// A maker is the user's code and may do what that may: no lock is held. In a process of its own, because the failure is a hang.
fn a_maker_may_use_its_handle(driver: DriverKind) {
    alone(|| {
        let port = open::<(), u32>(driver);
        let (listener, dialled) = listener(&port);
        let own = listener.clone();
        let mut made = 0;
        listener
            .accept_each(move || {
                made += 1;
                own.post(0, 1000 + made).expect("open");
                if made == 4 {
                    assert_eq!(own.cancel_all(), 1, "itself");
                }
                made
            })
            .expect("started");
        let mut contexts = Vec::new();
        let mut clients = Vec::new();
        let mut last = false;
        while !last {
            clients.push(dial(&dialled));
            // The connection's packet, and the post of the context that was made for the next, in whatever order.
            for done in take(&port, 2) {
                last |= done.last() && done.kind() == OpKind::AcceptEach;
                contexts.push(done.context);
            }
        }
        until("nothing is left", || match port.get_timeout(Duration::ZERO) {
            Ok(done) => {
                contexts.push(done.context);
                false
            }
            Err(_) => true,
        });
        contexts.sort_unstable();
        // The cancel came in the making of the fourth; the last packet may need a fifth.
        let made = contexts.len() as u32 / 2;
        assert!((4..=5).contains(&made), "{contexts:?}");
        let each_once = (1..=made).chain(1001..=1000 + made);
        assert!(contexts.iter().copied().eq(each_once), "{contexts:?}");
        assert_nothing_left(&port);
    });
}

/// A maker holds what its user gave it, a handle perhaps, and is dropped when the accept is over: no lock is held then. In a process of
/// its own, because the failure is a hang.
fn a_maker_may_use_its_handle_when_it_is_dropped(driver: DriverKind) {
    alone(|| {
        struct Farewell(OnceLock<Handle<(), u32>>, Arc<AtomicBool>);
        impl Drop for Farewell {
            fn drop(&mut self) {
                if let Some(handle) = self.0.get() {
                    handle.cancel_all();
                    self.1.store(true, Ordering::Relaxed);
                }
            }
        }
        let port = open::<(), u32>(driver);
        let (listener, _dialled) = listener(&port);
        let said = Arc::new(AtomicBool::new(false));
        let farewell = Farewell(OnceLock::from(listener.clone()), said.clone());
        listener
            .accept_each(move || {
                let _ = &farewell;
                5
            })
            .expect("started");
        assert_eq!(listener.cancel_all(), 1);
        let done = take(&port, 1).remove(0);
        assert_eq!((done.context, situation(&done.result)), (5, Some(Situation::Cancelled)));
        assert!(said.load(Ordering::Relaxed));
    });
}
