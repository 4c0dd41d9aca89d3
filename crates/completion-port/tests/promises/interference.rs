//! What a worker's own blocking calls notice while it has operations in flight. On io_uring the kernel does the completion work in the
//! thread that started the operation, so some calls end early, as after a signal handler (SA_RESTART): the library's README says
//! which. On readiness nothing is noticed. Either way the completion is not held up, and the call loses nothing.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::AsRawFd,
    ptr,
    sync::mpsc,
    thread,
    time::Duration,
};

use completion_port::{Buffer, CompletionPort, DriverKind};

use crate::util::{PATIENCE, connection, get, open, pair, pattern};

crate::on_each_driver!(
    leaves_recv_and_conditions_alone,
    of_epoll_wait_is_an_early_return_or_none,
    of_a_recv_with_a_timeout_is_an_early_return_or_none,
    of_a_large_send_is_a_short_count_or_none,
    of_a_fork_is_none,
    leaves_no_descriptor_to_exec,
);

/// A thread starts a receive, and then blocks in `call` until it returns by itself or `end` ends it. Meanwhile its receive completes, on
/// another thread. `call` gets the number of the try.
fn while_completing<R: Send>(
    driver: DriverKind,
    call: impl FnOnce() -> R + Send,
    end: impl FnOnce(),
) -> R {
    let port: CompletionPort<(), ()> = open(driver);
    let (server, mut client) = pair(&port, ());
    let (started, is_started) = mpsc::channel();
    thread::scope(|s| {
        let server = &server;
        let worker = s.spawn(move || {
            server.recv(Buffer::with_capacity(8), ()).expect("started");
            started.send(()).expect("somebody listens");
            call()
        });
        is_started.recv().expect("started");
        client.write_all(b"x").expect("written");
        let done = get(&port);
        assert_eq!(done.result.expect("received"), 1, "not held up by a thread that blocks");
        end();
        worker.join().expect("no panic")
    })
}

/// Early, by EINTR, only where the kernel completes in the thread's own context.
fn early_or_not<T>(driver: DriverKind, result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(e) => {
            assert_eq!(e.kind(), io::ErrorKind::Interrupted);
            assert_ne!(driver, DriverKind::Readiness, "nothing is noticed there");
            None
        }
    }
}

fn leaves_recv_and_conditions_alone(driver: DriverKind) {
    let (reader, mut writer) = connection();
    let read = while_completing(
        driver,
        move || (&reader).read(&mut [0; 8]),
        || writer.write_all(b"abc").expect("written"),
    );
    assert_eq!(read.expect("a recv without a timeout goes on"), 3);

    let (sender, receiver) = mpsc::channel();
    let received =
        while_completing(driver, move || receiver.recv(), || sender.send(7).expect("sent"));
    assert_eq!(received, Ok(7));
}

fn of_epoll_wait_is_an_early_return_or_none(driver: DriverKind) {
    let (reader, mut writer) = connection();
    let wait = move || {
        // SAFETY: numbers in, a new descriptor out, which is closed below.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: open descriptors, and one event for the kernel to read, then to write.
        let (count, error) = unsafe {
            libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, reader.as_raw_fd(), &mut event);
            let count = libc::epoll_wait(epoll, &mut event, 1, PATIENCE.as_millis() as i32);
            let error = io::Error::last_os_error();
            libc::close(epoll);
            (count, error)
        };
        if count < 0 { Err(error) } else { Ok(count) }
    };
    let waited = while_completing(driver, wait, || writer.write_all(b"x").expect("written"));
    assert!(early_or_not(driver, waited).is_none_or(|count| count == 1));
}

fn of_a_recv_with_a_timeout_is_an_early_return_or_none(driver: DriverKind) {
    let (reader, mut writer) = connection();
    reader.set_read_timeout(Some(PATIENCE)).expect("an option");
    let read = while_completing(
        driver,
        move || (&reader).read(&mut [0; 8]),
        || writer.write_all(b"abc").expect("written"),
    );
    assert!(early_or_not(driver, read).is_none_or(|count| count == 3));
}

fn of_a_large_send_is_a_short_count_or_none(driver: DriverKind) {
    const SIZE: usize = 32 << 20;
    let (sender, receiver) = connection();
    let bytes = pattern(0, SIZE);
    let (tell, told) = mpsc::channel::<TcpStream>();
    let reading = thread::spawn(move || {
        let mut receiver = told.recv().expect("told");
        let mut all = Vec::new();
        receiver.read_to_end(&mut all).map(|_| all.len()).expect("read")
    });
    let sent = while_completing(
        driver,
        move || {
            // SAFETY: a plain send of bytes that stay; one call, to see what one call does.
            let sent = unsafe {
                libc::send(sender.as_raw_fd(), bytes.as_ptr().cast(), SIZE, libc::MSG_NOSIGNAL)
            };
            usize::try_from(sent).map_err(|_| io::Error::last_os_error())
        },
        || tell.send(receiver).expect("somebody reads"),
    );
    let sent = early_or_not(driver, sent).unwrap_or(0);
    assert!(sent == SIZE || driver != DriverKind::Readiness, "{sent} bytes");
    assert_eq!(reading.join().expect("no panic"), sent, "what it told is what went");
}

/// A child that only exits leaves the parent's port as it was.
fn of_a_fork_is_none(driver: DriverKind) {
    let port: CompletionPort<(), ()> = open(driver);
    let (server, mut client) = pair(&port, ());
    server.recv(Buffer::with_capacity(8), ()).expect("started");
    // SAFETY: the child makes one call that is allowed after a fork of a process with threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe { libc::_exit(0) };
    }
    assert!(child > 0, "{}", io::Error::last_os_error());
    // SAFETY: a child of this process, and nobody else waits for it.
    assert_eq!(unsafe { libc::waitpid(child, ptr::null_mut(), 0) }, child);
    client.write_all(b"x").expect("written");
    assert_eq!(get(&port).result.expect("received"), 1);
}

/// Every descriptor of the library is close-on-exec, accepted sockets included.
fn leaves_no_descriptor_to_exec(driver: DriverKind) {
    let numbers = || -> Vec<i32> {
        let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is there").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    crate::util::child::alone(|| {
        // What the process was born with is not the library's.
        let inherited = numbers();
        let port: CompletionPort<(), ()> = open(driver);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let listener = port.associate(listener, ()).expect("associated");
        listener.accept(()).expect("started");
        let _client = TcpStream::connect(address).expect("connected");
        let mut done = get(&port);
        let _accepted = done.accepted().expect("a socket");
        completion_port::routine::use_driver(driver).expect("none yet");
        thread::scope(|s| {
            // Looked at while out: its state is read from a file.
            s.spawn(|| _ = port.get_timeout(Duration::from_millis(20)));
        });
        for number in numbers().into_iter().filter(|number| !inherited.contains(number)) {
            // The listing's own is gone again.
            let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else {
                continue;
            };
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
            let flags = i32::from_str_radix(flags.trim(), 8).expect("octal");
            assert_ne!(flags & libc::O_CLOEXEC, 0, "descriptor {number}: {info}");
        }
    });
}
