//! Promise 7: what a worker has started before it burns the processor leaves, and what comes of it is taken by others.

use std::{
    io::{Read, Write},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use completion_port::{Buffer, CompletionPort, DriverKind, OpKind, Release, Waking};

use crate::{
    kit::{open, waiting},
    util::{pair, until},
};

crate::on_each_driver!(
    what_it_started_goes_on_without_it,
    so_it_does_with_all_that_may_run_burning
);

/// Far longer than anything else here takes, and shorter than patience.
const ENDURANCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Sent,
    Answer,
}

/// Uses the processor, in no way that the kernel would hear of, until the flag is set. False when that takes too long.
fn burn(flag: &AtomicBool) -> bool {
    let begin = Instant::now();
    while !flag.load(Ordering::Acquire) {
        if begin.elapsed() > ENDURANCE {
            return false;
        }
        std::hint::spin_loop();
    }
    true
}

/// The burner answers its client and waits for the next request, all in one handler, and then burns until another worker has both
/// packets in hand.
fn what_it_started_goes_on_without_it(driver: DriverKind) {
    for (release, waking) in [
        (Release::Observed, Waking::Late),
        (Release::Observed, Waking::Eager),
        (Release::Exact, Waking::Late),
        (Release::Exact, Waking::Eager),
        (Release::Unlimited, Waking::Late),
    ] {
        for workers in [2, 4] {
            let port: CompletionPort<(), Step> = open(driver, 2, release, waking);
            let (server, mut client) = pair(&port, ());
            let [sent, answered] = [(); 2].map(|()| AtomicBool::new(false));
            let (sent, answered, port) = (&sent, &answered, &port);
            let work = move || {
                let mut in_time = true;
                while let Ok(done) = port.get() {
                    match done.context {
                        Step::Begin => {
                            let handle = &done.handle;
                            handle.send(b"hello".as_slice().into(), Step::Sent).expect("started");
                            handle.recv(Buffer::with_capacity(9), Step::Answer).expect("started");
                            in_time &= burn(sent) && burn(answered);
                        }
                        Step::Sent => {
                            assert_eq!(done.result.expect("sent"), 5);
                            sent.store(true, Ordering::Release);
                        }
                        Step::Answer => {
                            assert_eq!(
                                (done.kind(), &done.buffer[..]),
                                (OpKind::Recv, &b"yes"[..])
                            );
                            answered.store(true, Ordering::Release);
                        }
                    }
                }
                in_time
            };
            thread::scope(|s| {
                let _close = port.close_on_drop();
                let workers: Vec<_> = (0..workers).map(|_| s.spawn(work)).collect();
                waiting(port, workers.len());
                for _ in 0..5 {
                    sent.store(false, Ordering::Release);
                    answered.store(false, Ordering::Release);
                    server.recv(Buffer::with_capacity(9), Step::Begin).expect("started");
                    client.write_all(b"begin").expect("written");
                    let mut heard = [0; 5];
                    client.read_exact(&mut heard).expect("what it sent leaves");
                    assert_eq!(&heard, b"hello");
                    client.write_all(b"yes").expect("written");
                    until("another has the answer", || answered.load(Ordering::Acquire));
                    waiting(port, workers.len());
                }
                port.close();
                for worker in workers {
                    assert!(worker.join().expect("no panic"), "another came too late");
                }
            });
        }
    }
}

/// S50: with the limit reached by burners, nobody may take packets, however often these are pre-empted; but what was started leaves all the same: the driver is not alone.
fn so_it_does_with_all_that_may_run_burning(driver: DriverKind) {
    for (release, waking) in [(Release::Observed, Waking::Late), (Release::Exact, Waking::Eager)] {
        let port: CompletionPort<(), Step> = open(driver, 1, release, waking);
        let (server, mut client) = pair(&port, ());
        let over = AtomicBool::new(false);
        let packets = || port.snapshot().packets;
        let others = AtomicUsize::new(0);
        let taken = || others.load(Ordering::Acquire);
        let work = || {
            let mut in_time = true;
            while let Ok(done) = port.get() {
                if done.context == Step::Begin {
                    let handle = &done.handle;
                    handle.recv(Buffer::with_capacity(9), Step::Answer).expect("started");
                    handle.send(vec![7; 4 << 20].into(), Step::Sent).expect("started");
                    in_time &= burn(&over);
                } else {
                    others.fetch_add(1, Ordering::Release);
                }
            }
            in_time
        };
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let workers = [(); 3].map(|()| s.spawn(work));
            waiting(&port, workers.len());
            server.recv(Buffer::with_capacity(9), Step::Begin).expect("started");
            client.write_all(b"begin").expect("written");
            // More than the system buffers: somebody sends the rest, again and again.
            let mut heard = vec![0; 4 << 20];
            client.read_exact(&mut heard).expect("what it sent leaves");
            client.write_all(b"yes").expect("written");
            until("both packets are here", || packets() + taken() == 2);
            // What it started has a lot to copy, and the system has locks: it may have been seen to be blocked.
            let scheduling = port.snapshot().scheduling;
            if scheduling.released_by_observation == 0 {
                assert_eq!((taken(), port.snapshot().running_threads), (0, 1), "S47");
            }
            over.store(true, Ordering::Release);
            until("they are taken", || taken() == 2);
            waiting(&port, workers.len());
            port.close();
            for worker in workers {
                assert!(worker.join().expect("no panic"), "what it started came too late");
            }
        });
    }
}
