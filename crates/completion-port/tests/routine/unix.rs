//! Streams of the Unix domain with completion routines.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use completion_port::{DriverKind, error::Situation, routine::OverlappedSocket};

use crate::{
    kit::{Log, on_a_thread, room, run, run_until},
    util::{PATIENCE, situation},
};

crate::on_each_driver!(an_echo_and_an_end);

/// S110, S111, S117, and plain calls beside them.
fn an_echo_and_an_end(driver: DriverKind) {
    on_a_thread(driver, || {
        let (server, mut client) = UnixStream::pair().expect("a pair");
        client.set_read_timeout(Some(PATIENCE)).expect("an option");
        let server = OverlappedSocket::from(server);
        let log = Log::default();
        let sent = log.keep();
        server
            .recv(room(10), |done| _ = done.socket.send(done.buffer, sent).expect("started"))
            .expect("started");
        client.write_all(b"hello").expect("written");
        run_until("it is sent", || !log.is_empty());
        assert_eq!(log.take().remove(0).result.expect("sent"), 5);
        let mut back = [0; 5];
        client.read_exact(&mut back).expect("echoed");
        assert_eq!(&back, b"hello");

        client.write_all(b"plain").expect("written");
        (&server).read_exact(&mut back).expect("it blocks as it did");
        assert_eq!(&back, b"plain");
        server.set_nodelay(true).expect_err("no TCP");

        server.recv(room(10), log.keep()).expect("started");
        drop(client);
        run();
        assert_eq!(log.take().remove(0).result.expect("an end"), 0);
        server.send(vec![1].into(), log.keep()).expect("started");
        run();
        assert_eq!(situation(&log.take().remove(0).result), Some(Situation::PeerReset));
    });
}
