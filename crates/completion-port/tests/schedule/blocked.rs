//! A worker that blocks gives up its place, and only that one: S47, S49, S51 and S56 in full, once for each way to block.

use std::{
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    net::{SocketAddr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use completion_port::{
    DriverKind, Release, Waking, blocking,
    event::Event,
    routine::{self, OverlappedSocket, Woken, sleep_ex},
};

use crate::{
    kit::{
        Inside, Port, Puppet, SetOnDrop, a_moment, burn_until, exact, observes, only_posted_to,
        open, post, queued_and_running, waiting,
    },
    util::{PATIENCE, connection, for_good, until},
};

crate::on_each_driver!(
    in_blocking,
    in_sleep_ex,
    in_an_alertable_sleep,
    in_a_wait_for_an_event,
    in_a_wait_for_an_event_with_io,
    in_accept_of_an_overlapped_socket,
    in_read_of_an_overlapped_socket,
    in_a_thread_sleep,
    in_a_contended_mutex,
    in_a_read_of_a_pipe,
    in_a_read_of_a_stream,
    exact_does_not_observe,
    blocking_in_blocking_and_a_panic_in_it,
    blocking_without_a_port_just_runs,
    blocking_in_another_port_counts_nobody_when_it_is_over,
);

#[cfg(target_os = "linux")]
crate::on_each_driver!(in_a_page_fault);

/// Which of the two ways makes the port know that a worker blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// In the library's own waits: at once and under every policy.
    Accounted,
    /// Elsewhere: by a look, and only if looks are wanted.
    Observed,
}

/// S56, under each policy, with each number of threads, and with ports in use and not, none of which should make a difference.
///
/// What `ways` makes blocks the thread that calls it until the other is called.
fn s56<B: FnOnce() + Send>(driver: DriverKind, known: Known, ways: impl Fn() -> (B, Wake)) {
    s56_prepared(driver, known, || {}, ways);
}

/// The same with a worker that does something before it takes its first packet.
fn s56_prepared<B: FnOnce() + Send>(
    driver: DriverKind,
    known: Known,
    prepare: impl Fn() + Sync,
    ways: impl Fn() -> (B, Wake),
) {
    if known == Known::Observed && !observes() {
        return;
    }
    let ports = |others| [open, only_posted_to].map(|open| (others, open));
    for waking in [Waking::Eager, Waking::Late] {
        for (others, open) in [1, 2].into_iter().flat_map(ports) {
            if known == Known::Accounted {
                let port = open(driver, 1, Release::Exact, waking);
                let as_planned = s56_on(&port, known, others, &prepare, ways());
                assert!(as_planned, "nobody observes");
            }
            until("nobody is seen to be blocked beside the one who is to be", || {
                let port = open(driver, 1, Release::Observed, waking);
                s56_on(&port, known, others, &prepare, ways())
            });
        }
    }
}

type Wake = Box<dyn FnOnce()>;

/// Limit 1. A holds packet 1 and packet 2 waits, with `others` waiting for it; A blocks, and the newest of them is released with packet
/// 2; A wakes, and both run; packet 3 waits for them to come back.
fn s56_on(
    port: &Port,
    known: Known,
    others: usize,
    prepare: &(impl Fn() + Sync),
    (block, wake): (impl FnOnce() + Send, Wake),
) -> bool {
    let allowed = u64::from(known == Known::Observed);
    let too_many = || port.snapshot().scheduling.released_by_observation > allowed;
    let inside = Inside::default();
    let [block_now, a_returns, b_returns] = [(); 3].map(|()| AtomicBool::new(false));
    let (a_blocks, a_runs) = (AtomicBool::new(false), AtomicBool::new(false));
    let everything_ends = [&block_now, &a_returns, &b_returns];
    thread::scope(|s| {
        let _close = port.close_on_drop();
        // A failure must not leave them burning.
        let _end = SetOnDrop(everything_ends);
        let (inside, block_now, a_returns, b_returns) =
            (&inside, &block_now, &a_returns, &b_returns);
        let (a_blocks, a_runs) = (&a_blocks, &a_runs);
        let idlers: Vec<_> = (1..others).map(|_| Puppet::new(s)).collect();
        let idle: Vec<_> =
            idlers.iter().enumerate().map(|(before, idler)| idler.wait(port, before)).collect();
        let [a, b] = [(); 2].map(|()| Puppet::new(s));
        let mut b_has = b.begin(move || {
            let context = port.get().expect("open").context;
            inside.enter();
            burn_until(b_returns);
            inside.leave();
            (context, port.get().map(|done| done.context).ok())
        });
        waiting(port, others);
        let a_has = a.begin(move || {
            prepare();
            let context = port.get().expect("open").context;
            inside.enter();
            burn_until(block_now);
            inside.leave();
            a_blocks.store(true, Ordering::Release);
            block();
            inside.enter();
            a_runs.store(true, Ordering::Release);
            burn_until(a_returns);
            inside.leave();
            (context, port.get().map(|done| done.context))
        });
        waiting(port, others + 1);
        let mut wake = WakeOnDrop(Some(wake));

        post(port, [1]);
        until("A runs", || inside.now() == 1);
        post(port, [2]);
        a_moment(port);
        if port.snapshot().scheduling.released_by_observation > 0 {
            return false;
        }
        assert_eq!((queued_and_running(port), inside.now()), ((1, 1), 1), "S47");

        let before = port.snapshot().scheduling;
        block_now.store(true, Ordering::Release);
        until("A blocks", || a_blocks.load(Ordering::Acquire));
        until("B runs with packet 2 (S49)", || inside.now() == 1);
        if too_many() {
            return false;
        }
        assert_eq!(queued_and_running(port), (0, 1), "S49");
        let after = port.snapshot().scheduling;
        let released = (
            after.released_by_accounting - before.released_by_accounting,
            after.released_by_observation - before.released_by_observation,
        );
        match known {
            Known::Accounted => assert_eq!(released, (1, 0)),
            Known::Observed => assert_eq!(released, (0, 1)),
        }
        assert!(!a_runs.load(Ordering::Acquire), "it is blocked as long as the test wishes");

        wake.now();
        until("both run (S51)", || a_runs.load(Ordering::Acquire) && inside.now() == 2);
        // One that was only seen to be blocked is not seen to be back.
        let running = if known == Known::Accounted { 2 } else { 1 };
        assert_eq!(queued_and_running(port), (0, running), "S51");
        post(port, [3]);
        a_moment(port);
        if too_many() {
            return false;
        }
        assert_eq!((queued_and_running(port), inside.now()), ((1, running), 2), "S56");

        // One that comes back is one too many still; the other takes the packet.
        a_returns.store(true, Ordering::Release);
        let waits = || port.snapshot().waiting_threads == others;
        until("A waits again", || waits() || too_many());
        a_moment(port);
        if too_many() {
            return false;
        }
        assert_eq!((queued_and_running(port), inside.now()), ((1, 1), 1), "S51");
        b_returns.store(true, Ordering::Release);
        // On its way into the port it may wait for a lock, and be seen to be blocked.
        until("B comes back", || b_has.is_over() || too_many());
        if too_many() {
            return false;
        }
        assert_eq!(b_has.end(), (2, Some(3)), "S48");
        port.close();
        let (first, second) = a_has.end();
        assert!(first == 1 && second.is_err(), "A has had packet 1 and no other");
        drop(idle);
        true
    })
}

struct WakeOnDrop(Option<Wake>);

impl WakeOnDrop {
    fn now(&mut self) {
        self.0.take().into_iter().for_each(|wake| wake());
    }
}

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.now();
    }
}

fn in_blocking(driver: DriverKind) {
    s56(driver, Known::Accounted, || {
        let (tell, told) = mpsc::channel();
        let block = move || blocking(|| told.recv().expect("it is told"));
        (block, Box::new(move || tell.send(()).expect("it listens")))
    });
}

/// Not alertable: it just sleeps.
fn in_sleep_ex(driver: DriverKind) {
    s56(driver, Known::Accounted, || {
        let over = Arc::new(AtomicBool::new(false));
        let flag = over.clone();
        // One long wait would be longer than the test wishes: several in one.
        let block = move || {
            blocking(|| {
                while !flag.load(Ordering::Acquire) {
                    sleep_ex(Duration::from_millis(20), false).expect("it sleeps");
                }
            });
        };
        (block, Box::new(move || over.store(true, Ordering::Release)))
    });
}

/// Alertable, and ended by a routine.
fn in_an_alertable_sleep(driver: DriverKind) {
    // The driver's making takes a while, and may block.
    let prepare = || routine::use_driver(driver).expect("a probed driver can be had");
    s56_prepared(driver, Known::Accounted, prepare, || {
        let sleeper = Arc::new(OnceLock::new());
        let this = sleeper.clone();
        let block = move || {
            this.set(routine::current().expect("it has a driver")).unwrap_or_else(|_| panic!());
            assert_eq!(sleep_ex(PATIENCE, true).expect("it sleeps"), Woken::IoCompletion);
        };
        let wake = move || {
            let sleeper = sleeper.get().expect("it sleeps");
            routine::queue_user_apc(sleeper, || {}).expect("it is alive");
        };
        (block, Box::new(wake))
    });
}

fn in_a_wait_for_an_event(driver: DriverKind) {
    s56(driver, Known::Accounted, wait_for_an_event);
}

/// Of a thread that has a driver of its own to sleep in.
fn in_a_wait_for_an_event_with_io(driver: DriverKind) {
    let prepare = || routine::use_driver(driver).expect("a probed driver can be had");
    s56_prepared(driver, Known::Accounted, prepare, wait_for_an_event);
}

fn wait_for_an_event() -> (impl FnOnce() + Send, Wake) {
    let event = Event::auto_reset(false);
    let set = event.clone();
    let block = move || assert!(event.wait(Some(PATIENCE)).expect("it waits"), "in vain");
    (block, Box::new(move || set.set()))
}

fn in_accept_of_an_overlapped_socket(driver: DriverKind) {
    s56(driver, Known::Accounted, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let listener = OverlappedSocket::from(listener);
        let block = move || _ = listener.accept().expect("accepted");
        (block, Box::new(move || drop(TcpStream::connect(address).expect("connected"))))
    });
}

fn in_read_of_an_overlapped_socket(driver: DriverKind) {
    s56(driver, Known::Accounted, || {
        let (server, mut client) = connection();
        let mut server = OverlappedSocket::from(server);
        let block = move || server.read_exact(&mut [0]).expect("read");
        (block, Box::new(move || client.write_all(b"x").expect("written")))
    });
}

fn in_a_thread_sleep(driver: DriverKind) {
    s56(driver, Known::Observed, || {
        let over = Arc::new(AtomicBool::new(false));
        let flag = over.clone();
        let block = move || {
            while !flag.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(20));
            }
        };
        (block, Box::new(move || over.store(true, Ordering::Release)))
    });
}

fn in_a_contended_mutex(driver: DriverKind) {
    s56(driver, Known::Observed, || {
        let mutex: &'static Mutex<()> = for_good(Mutex::default());
        let held: MutexGuard<'_, ()> = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let block = || drop(mutex.lock().unwrap_or_else(PoisonError::into_inner));
        (block, Box::new(move || drop(held)))
    });
}

fn in_a_read_of_a_pipe(driver: DriverKind) {
    s56(driver, Known::Observed, || {
        let (mut reader, mut writer): (PipeReader, PipeWriter) = pipe().expect("a pipe");
        let block = move || reader.read_exact(&mut [0]).expect("read");
        (block, Box::new(move || writer.write_all(b"x").expect("written")))
    });
}

fn in_a_read_of_a_stream(driver: DriverKind) {
    s56(driver, Known::Observed, || {
        let (mut server, mut client) = connection();
        let block = move || server.read_exact(&mut [0]).expect("read");
        (block, Box::new(move || client.write_all(b"x").expect("written")))
    });
}

/// A page that nobody has filled: the thread that touches it is held in the middle of an instruction.
#[cfg(target_os = "linux")]
fn in_a_page_fault(driver: DriverKind) {
    use crate::{held_page::HeldPage, util::drivers::say_once};

    if let Err(e) = HeldPage::new() {
        say_once(&format!("skipped, in_a_page_fault: userfaultfd is refused ({e})"));
        return;
    }
    s56(driver, Known::Observed, || {
        let page = Arc::new(HeldPage::new().expect("as just now"));
        let touched = page.clone();
        (move || assert_eq!(touched.touch(), 0), Box::new(move || page.fill()))
    });
}

/// Under `Exact`, a thread that blocks elsewhere keeps its place, however often it is looked at.
fn exact_does_not_observe(driver: DriverKind) {
    for waking in [Waking::Eager, Waking::Late] {
        let port = open(driver, 1, Release::Exact, waking);
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let puppets = [(); 3].map(|()| Puppet::new(s));
            let mut steps: Vec<_> = puppets
                .iter()
                .enumerate()
                .map(|(before, puppet)| puppet.wait(&port, before))
                .collect();
            post(&port, [1]);
            // From now on it waits for its next step, in a channel.
            assert_eq!(steps.pop().expect("the newest").end(), 1);
            post(&port, [2]);
            for _ in 0..10 {
                a_moment(&port);
                assert_eq!(queued_and_running(&port), (1, 1), "S47");
            }
            assert_eq!(port.snapshot().scheduling.released_by_observation, 0);
            let (tell, told) = mpsc::channel::<()>();
            let blocks = puppets[2].begin(move || blocking(|| told.recv()));
            assert_eq!(steps.pop().expect("the newer").end(), 2, "S49");
            drop(tell);
            blocks.end().expect_err("there is nothing to hear");
        });
    }
}

/// The place is given up once, and taken again once, whatever happens meanwhile (S49, S51).
fn blocking_in_blocking_and_a_panic_in_it(driver: DriverKind) {
    let port = exact(driver, 1);
    let running = || port.snapshot().running_threads;
    thread::scope(|s| {
        let _close = port.close_on_drop();
        let worker = Puppet::new(s);
        post(&port, [1]);
        assert_eq!(worker.get(&port).end(), 1);
        worker.act(|| {
            let seen = blocking(|| {
                let outside = running();
                let inside = blocking(running);
                // Back from the inner one it still blocks, in the outer one.
                (outside, inside, running())
            });
            assert_eq!((seen, running()), ((0, 0, 0), 1));
            let panic = catch_unwind(AssertUnwindSafe(|| {
                blocking(|| resume_unwind(Box::new("as planned")));
            }));
            assert_eq!(panic.expect_err("it comes out").downcast_ref(), Some(&"as planned"));
            assert_eq!(running(), 1, "S51");
        });
        // A wait inside, too, and it is as if it had come back (S48).
        post(&port, [2]);
        let got = worker.act(|| blocking(|| port.get().expect("open").context));
        assert_eq!((got, running()), (2, 1));
        worker.exit();
        assert_eq!(running(), 0);
    });
}

/// S55: a thread that never waited here has no place to give up, nor has one whose port is gone.
fn blocking_without_a_port_just_runs(driver: DriverKind) {
    let port = exact(driver, 1);
    thread::scope(|s| {
        let other = Puppet::new(s);
        assert_eq!(other.act(|| blocking(|| 7)), 7);
        assert_eq!(queued_and_running(&port), (0, 0));
        assert_eq!(port.snapshot().scheduling.released_by_accounting, 0);
        other.act(move || {
            let gone = exact(driver, 1);
            post(&gone, [1]);
            gone.get().expect("open");
            drop(gone);
            assert_eq!(blocking(|| 8), 8);
        });
    });
}

/// S53: in there it has become a worker of the other port, and its number here is somebody else's by now.
fn blocking_in_another_port_counts_nobody_when_it_is_over(driver: DriverKind) {
    let (here, there) = (exact(driver, 1), exact(driver, 1));
    thread::scope(|s| {
        let (_close, _close_too) = (here.close_on_drop(), there.close_on_drop());
        let [moves, waits] = [(); 2].map(|()| Puppet::new(s));
        post(&here, [1]);
        assert_eq!(moves.get(&here).end(), 1);
        let (tell, told) = mpsc::channel();
        let port = &there;
        let away = moves.begin(move || {
            blocking(|| {
                crate::kit::times_out(port);
                told.recv().expect("it is told");
            });
        });
        until("it is there", || queued_and_running(&there).1 == 1);
        let waits = waits.wait(&here, 0);
        tell.send(()).expect("it listens");
        away.end();
        assert_eq!((queued_and_running(&here), queued_and_running(&there)), ((0, 0), (0, 1)));
        post(&here, [2]);
        assert_eq!(waits.end(), 2);
    });
}
