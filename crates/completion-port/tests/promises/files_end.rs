//! Files: how their operations end early, and what is left of them. Promises 2, 8 and 9.

use std::{sync::Arc, thread};

use completion_port::{Buffer, DriverKind, GetError, OpId, error::Situation};

use crate::util::{
    assert_nothing_left, assert_same, files::associated, get, open, pattern, situation, take,
};

crate::on_each_driver!(
    cancelled_or_done,
    cancel_races,
    a_cancel_of_one_is_of_one,
    a_close_has_a_packet_for_each,
    a_port_closes_with_all_of_it,
    threads_exit,
);

const LEN: usize = 256 << 10;

/// S85, S86, S88, S89: each has one packet, cancelled or done, and gives its buffer back.
fn cancelled_or_done(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (file, _) = associated(&port, (), &pattern(0, 4 * LEN));
    for _ in 0..20 {
        for number in 0..64 {
            let offset = (number * 1000) as u64;
            match number % 3 {
                0 => file.read_at(Buffer::with_capacity(LEN), offset, number).map_err(|e| e.error),
                1 => file
                    .write_at(pattern(offset as usize, LEN).into(), offset, number)
                    .map_err(|e| e.error),
                _ => file.sync_data(number).map_err(|e| e.error),
            }
            .expect("started");
        }
        let found = file.cancel_all();
        assert_eq!(file.cancel_all(), 0, "a second time finds none");
        let mut cancelled = 0;
        let mut seen = [false; 64];
        for done in take(&port, 64) {
            assert!(!std::mem::replace(&mut seen[done.context], true), "twice");
            match situation(&done.result) {
                Some(Situation::Cancelled) => cancelled += 1,
                None => {}
                other => panic!("{other:?}"),
            }
            if done.context % 3 != 2 {
                assert_eq!(done.buffer.capacity(), LEN, "the buffer comes back");
            }
        }
        assert!(cancelled <= found, "{cancelled} were cancelled, and {found} found");
        assert_nothing_left(&port);
    }
}

/// One thread starts, another cancels, a third takes: nothing is lost, and nobody's bytes are wrong.
fn cancel_races(driver: DriverKind) {
    const COUNT: usize = 5000;
    let port = open::<(), usize>(driver);
    let content = pattern(0, LEN);
    let (file, _) = associated(&port, (), &content);
    let (ids, to_cancel) = std::sync::mpsc::channel::<OpId>();
    thread::scope(|s| {
        s.spawn(|| {
            for id in to_cancel {
                file.cancel(id);
            }
        });
        let (file, port, content) = (&file, &port, &content);
        s.spawn(move || {
            let mut started = 0;
            let mut pending = 0;
            let mut seen = vec![false; COUNT];
            while started < COUNT || pending > 0 {
                while started < COUNT && pending < 48 {
                    let offset = started * 37 % (LEN - 512);
                    let id = file
                        .read_at(Buffer::with_capacity(512), offset as u64, started)
                        .expect("started");
                    ids.send(id).expect("it listens");
                    (started, pending) = (started + 1, pending + 1);
                }
                let done = get(port);
                pending -= 1;
                assert!(!std::mem::replace(&mut seen[done.context], true), "twice");
                if situation(&done.result).is_none() {
                    let offset = done.context * 37 % (LEN - 512);
                    assert_same(&done.buffer, &content[offset..offset + 512], "what was read");
                }
            }
            assert!(seen.iter().all(|seen| *seen));
        });
    });
    assert_nothing_left(&port);
}

/// S91.
fn a_cancel_of_one_is_of_one(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let (file, _) = associated(&port, (), &pattern(0, LEN));
    let ids: Vec<_> = (0..32)
        .map(|number| file.read_at(Buffer::with_capacity(LEN), 0, number).expect("started"))
        .collect();
    file.cancel(ids[20]);
    for done in take(&port, 32) {
        if done.context != 20 {
            assert_eq!(done.result.expect("read"), LEN);
        } else if let Some(other) = situation(&done.result) {
            assert_eq!(other, Situation::Cancelled);
        }
    }
    assert!(!file.cancel(ids[20]), "it is over");
    assert_nothing_left(&port);
}

/// S93.
fn a_close_has_a_packet_for_each(driver: DriverKind) {
    for _ in 0..20 {
        let port = open::<(), usize>(driver);
        let (file, _) = associated(&port, (), &pattern(0, LEN));
        for number in 0..40 {
            file.read_at(Buffer::with_capacity(LEN), 0, number).expect("started");
            file.write_at(pattern(0, 1000).into(), 0, 100 + number).expect("started");
        }
        file.close();
        file.sync(0).expect_err("closed");
        for done in take(&port, 80) {
            let situation = situation(&done.result);
            assert!(matches!(situation, None | Some(Situation::Cancelled)), "{situation:?}");
        }
        assert_nothing_left(&port);
    }
}

/// All packets come out of the close, and nobody is left behind.
fn a_port_closes_with_all_of_it(driver: DriverKind) {
    for _ in 0..20 {
        let port = open::<(), Arc<()>>(driver);
        let (file, _) = associated(&port, (), &pattern(0, LEN));
        let token = Arc::new(());
        for _ in 0..40 {
            file.read_at(Buffer::with_capacity(LEN), 0, token.clone()).expect("started");
            file.write_at(pattern(0, 1000).into(), 0, token.clone()).expect("started");
        }
        let left = port.close();
        assert_eq!((left.len(), port.snapshot().leaked), (80, 0));
        file.sync(token.clone()).expect_err("closed");
        assert!(matches!(port.get(), Err(GetError::Closed)));
        drop(left);
        assert_eq!(Arc::strong_count(&token), 1, "every context was given back");
    }
}

/// S106.
fn threads_exit(driver: DriverKind) {
    let port = open::<(), usize>(driver);
    let content = pattern(0, LEN);
    let (file, _) = associated(&port, (), &content);
    for round in 0..20 {
        thread::scope(|s| {
            s.spawn(|| {
                for number in 0..32 {
                    file.read_at(Buffer::with_capacity(LEN), 0, number).expect("started");
                    let at = (LEN + (round * 32 + number) * 100) as u64;
                    file.write_at(pattern(0, 100).into(), at, 100).expect("started");
                }
            });
        });
        for done in take(&port, 64) {
            let expected = if done.context == 100 { 100 } else { LEN };
            assert_eq!(done.result.expect("it survives"), expected);
        }
    }
    assert_nothing_left(&port);
}
