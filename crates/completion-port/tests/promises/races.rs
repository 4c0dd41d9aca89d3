//! Promise 2 where it is hardest: a cancel, a close of the handle or a close of the port meets starts and completions on the way.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{Buffer, CompletionPort, DriverKind, GetError, Handle, error::Situation};

use crate::util::{
    assert_nothing_left, connection, get, open, pair, reset, scaled, situation, take,
};

crate::on_each_driver!(
    a_cancel_races_with_data,
    a_close_of_the_handle_races_with_starts,
    a_close_of_the_port_races_with_starts,
    a_close_of_the_port_races_with_associations,
);

/// One packet, one canceller at most is told that it found something (S88), and a byte is never lost: either the receive has it, or
/// it is still there.
fn a_cancel_races_with_data(driver: DriverKind) {
    const TIMES: usize = 150;
    let port = open::<(), usize>(driver);
    let (server, mut client) = pair(&port, ());
    let found = AtomicUsize::new(0);
    let barrier = Barrier::new(3);
    let op = std::sync::Mutex::new(None);
    let cancel = || {
        for _ in 0..TIMES {
            barrier.wait();
            let id = op.lock().expect("no panic").expect("started");
            found.fetch_add(usize::from(server.cancel(id)), Ordering::Relaxed);
            barrier.wait();
        }
    };
    thread::scope(|s| {
        let cancellers = [s.spawn(cancel), s.spawn(cancel)];
        let mut cancelled = 0;
        for time in 0..TIMES {
            let id = match time % 2 {
                0 => server.recv(Buffer::with_capacity(1), time).expect("started"),
                _ => server.recv_lent(time).expect("started"),
            };
            *op.lock().expect("no panic") = Some(id);
            found.store(0, Ordering::Relaxed);
            barrier.wait();
            client.write_all(&[time as u8]).expect("written");
            barrier.wait();
            let done = get(&port);
            assert_eq!(done.context, time);
            assert_nothing_left(&port);
            let found = found.load(Ordering::Relaxed);
            assert!(found <= 1, "two cancels have found one operation");
            let mut byte = done.buffer;
            if let Some(situation) = situation(&done.result) {
                assert_eq!((situation, found), (Situation::Cancelled, 1));
                cancelled += 1;
                server.recv(Buffer::with_capacity(1), time).expect("started");
                byte = get(&port).buffer;
            }
            assert_eq!(byte[..], [time as u8], "the byte is where it belongs");
        }
        println!("{cancelled} of {TIMES} were cancelled in time");
        cancellers.into_iter().for_each(|canceller| canceller.join().expect("no panic"));
    });
}

/// Starts receives and sends until one is refused, and tells how many were not.
fn start_until_refused(handle: &Handle<(), ()>) -> usize {
    let mut started = 0;
    for time in 0.. {
        let result: Result<_, io::Error> = match time % 3 {
            0 => handle.recv(Buffer::with_capacity(8), ()).map_err(Into::into),
            1 => handle.recv_lent(()).map_err(Into::into),
            _ => handle.send(Buffer::from(vec![1; 100]), ()).map_err(Into::into),
        };
        match result {
            Ok(_) => started += 1,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::NotConnected, "{e}");
                break;
            }
        }
    }
    started
}

fn a_close_of_the_handle_races_with_starts(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    for _ in 0..20 {
        let (server, _client) = pair(&port, ());
        let begun = Barrier::new(3);
        let start = || {
            begun.wait();
            start_until_refused(&server)
        };
        let started: usize = thread::scope(|s| {
            let starters = [s.spawn(start), s.spawn(start)];
            begun.wait();
            server.close();
            starters.into_iter().map(|starter| starter.join().expect("no panic")).sum()
        });
        take(&port, started);
        assert_nothing_left(&port);
    }
}

/// Takes packets until the port is closed, and tells how many.
fn take_until_closed(port: &CompletionPort<(), ()>) -> usize {
    let mut taken = 0;
    loop {
        match port.get() {
            Ok(_) => taken += 1,
            Err(GetError::Closed) => return taken,
            Err(e) => panic!("{e}"),
        }
    }
}

/// Every start that was not refused has its packet: taken by somebody, or given back by the close.
fn a_close_of_the_port_races_with_starts(driver: DriverKind) {
    for _ in 0..15 {
        let port = open::<(), ()>(driver);
        let (one, _client) = pair(&port, ());
        let (other, _client) = pair(&port, ());
        let begun = Barrier::new(3);
        let start = |handle| {
            begun.wait();
            start_until_refused(handle)
        };
        let (started, taken, left) = thread::scope(|s| {
            let starters = [s.spawn(|| start(&one)), s.spawn(|| start(&other))];
            let taker = s.spawn(|| take_until_closed(&port));
            begun.wait();
            let left = port.close().len();
            let started: usize =
                starters.into_iter().map(|starter| starter.join().expect("no panic")).sum();
            (started, taker.join().expect("no panic"), left)
        });
        assert_eq!(started, taken + left, "started, and taken or left; {}", port.snapshot());
        assert_eq!(port.snapshot().leaked, 0);
    }
}

/// Associates and receives until the port refuses; tells how many receives it did not refuse, and counts its steps meanwhile.
fn associate_until_refused(
    port: &CompletionPort<(), ()>,
    sockets: Vec<TcpStream>,
    steps: &AtomicUsize,
) -> (usize, Vec<Handle<(), ()>>) {
    let mut handles = Vec::new();
    let mut started = 0;
    for socket in sockets {
        steps.fetch_add(1, Ordering::Relaxed);
        let Ok(handle) = port.associate(socket, ()) else { break };
        started += usize::from(handle.recv_lent(()).is_ok());
        handles.push(handle);
    }
    steps.store(usize::MAX, Ordering::Relaxed);
    (started, handles)
}

/// A handle that is made while its port closes is closed as well, or refuses; it does not start what nobody will end.
fn a_close_of_the_port_races_with_associations(driver: DriverKind) {
    let sockets = scaled("sockets associated while the port closes", 15, 2);
    for time in 0..30 {
        let port = open::<(), ()>(driver);
        let (servers, clients): (Vec<_>, Vec<_>) = (0..sockets).map(|_| connection()).unzip();
        let steps = AtomicUsize::new(0);
        let (started, left) = thread::scope(|s| {
            let starter = s.spawn(|| associate_until_refused(&port, servers, &steps));
            // In the middle of an association, another one each time.
            while steps.load(Ordering::Relaxed) <= time % sockets {
                std::hint::spin_loop();
            }
            let begun = Instant::now();
            let left = port.close();
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "the close had to wait until its deadline"
            );
            let (started, handles) = starter.join().expect("no panic");
            let open = handles.iter().find(|handle| handle.recv_lent(()).is_ok());
            assert!(open.is_none(), "a handle of a closed port starts a receive");
            (started, left.len())
        });
        assert_eq!(started, left, "each receive that was started comes back from the close");
        assert_eq!(port.snapshot().leaked, 0);
        // Hundreds of orderly ends would leave hundreds of ports in TIME_WAIT.
        clients.into_iter().for_each(reset);
    }
}
