//! Errors: one event has one name, wherever it is told.

use std::io;

use completion_port::{
    DriverKind, TcpSocket,
    error::Situation,
    routine::{Done, OverlappedSocket},
};

use crate::{
    kit::{get, nobody, open, pair, reset, room, with},
    routine_kit::{Log, elsewhere, on_a_thread, only, overlapped, run},
};

conformance! {
    one_event_has_one_name_in_packets_and_routines [S84]
        "a reset, a cancel, a close and a refusal are told by packets and by routines with the same code and the same situation";
}

/// What a routine and a packet say of the same.
#[track_caller]
fn are_alike(routine: &io::Result<usize>, packet: &io::Result<usize>, named: Situation) {
    let [routine, packet] = [routine, packet].map(|told| told.as_ref().expect_err("it failed"));
    assert_eq!(Situation::of(routine), Some(named), "{routine:?}");
    assert_eq!(Situation::of(packet), Some(named), "{packet:?}");
    assert_eq!((routine.raw_os_error(), routine.kind()), (packet.raw_os_error(), packet.kind()));
}

fn one_event_has_one_name_in_packets_and_routines(driver: DriverKind) {
    on_a_thread(driver, || {
        let port = open(driver);
        let told: Log<Done> = Log::default();
        let ended = |end: &dyn Fn(usize)| {
            end(0);
            run();
            end(1);
            (only(&told).result, get(&port).result)
        };

        let ((socket, one), (server, two)) = (overlapped(), pair(&port));
        socket.recv(room(8), told.keep()).expect("started");
        server.recv(room(8), 1).expect("started");
        let clients = std::cell::RefCell::new(vec![two, one]);
        let (routine, packet) = ended(&|_| {
            let client = clients.borrow_mut().pop().expect("one is left");
            elsewhere(|| reset(client));
        });
        are_alike(&routine, &packet, Situation::PeerReset);

        let ((socket, _one), (server, _two)) = (overlapped(), pair(&port));
        socket.recv(room(8), told.keep()).expect("started");
        server.recv(room(8), 1).expect("started");
        let (routine, packet) =
            ended(&|time| _ = if time == 0 { socket.cancel_own() } else { server.cancel_all() });
        are_alike(&routine, &packet, Situation::Cancelled);

        socket.recv(room(8), told.keep()).expect("started");
        server.recv(room(8), 1).expect("started");
        let (routine, packet) =
            ended(&|time| if time == 0 { socket.close() } else { server.close() });
        are_alike(&routine, &packet, Situation::LocalClose);

        let (_port, _nobody, address) = nobody(driver);
        let unconnected = || TcpSocket::new(&address).expect("a socket");
        let socket = OverlappedSocket::from(unconnected());
        socket.connect_with(address, with(b"x"), told.keep()).expect("started");
        let client = port.associate(unconnected(), "client").expect("associated");
        client.connect_with(address, with(b"x"), 1).expect("started");
        let (routine, packet) = ended(&|_| {});
        are_alike(&routine, &packet, Situation::ConnectionRefused);
    });
}
