//! Promise 9: descriptors, keys and contexts are all given back.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use completion_port::{Buffer, DriverKind};

use crate::util::{
    child::alone, connection, dial, get, open, pair, proc::open_descriptors, reset, scaled, take,
};

crate::on_each_driver!(are_given_back);

/// Connections that end in every way, accepted sockets that nobody takes, associations that are refused: afterwards as many descriptors
/// are open as before. In a process of its own.
fn are_given_back(driver: DriverKind) {
    alone(|| {
        // What a process opens once (the probe has run already).
        drop((open::<(), ()>(driver), connection()));
        let before = open_descriptors();
        let counted = Arc::new(());
        for round in 0..3 {
            let port = open::<Arc<()>, Arc<()>>(driver);
            let with_port = open_descriptors();
            let count = scaled("connections that end in every way", 60, 2);
            for way in 0..count {
                let (server, mut client) = pair(&port, counted.clone());
                server.recv_lent(counted.clone()).expect("started");
                server.recv(Buffer::with_capacity(1), counted.clone()).expect("started");
                match way % 6 {
                    0 => drop(client),
                    1 => reset(client),
                    2 => server.close(),
                    3 => {
                        client.write_all(b"xy").expect("written");
                        server.send(vec![1].into(), counted.clone()).expect("started");
                        client.read_exact(&mut [0]).expect("sent");
                        server.cancel_all();
                        take(&port, 1);
                    }
                    4 => {
                        drop(client);
                        server.end(Duration::from_secs(30), counted.clone()).expect("started");
                        take(&port, 1);
                    }
                    _ => drop(port.associate(client, counted.clone()).expect("associated")),
                }
                drop(server);
                take(&port, 2);
            }
            assert_eq!(open_descriptors(), with_port, "round {round}: only the port is left");
            assert_eq!(Arc::strong_count(&counted), 1, "round {round}: no key, no context");

            let (server, _client) = connection();
            let duplicate = server.try_clone().expect("a duplicate");
            let handle = port.associate(server, counted.clone()).expect("associated");
            drop(port.associate(duplicate, counted.clone()).expect_err("S6"));
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let dialled = listener.try_clone().expect("a duplicate");
            let listener = port.associate(listener, counted.clone()).expect("associated");
            let maker = counted.clone();
            listener.accept_each(move || maker.clone()).expect("started");
            for take in [true, false, true] {
                let _client = dial(&dialled);
                let mut done = get(&port);
                assert!(!take || done.accepted().is_some());
            }
            handle.recv_lent(counted.clone()).expect("started");
            // A connection that is accepted and whose packet nobody takes, or that is not accepted any more.
            let _client = dial(&dialled);
            drop((handle, listener, dialled));
            drop(port);
            drop((_client,));
        }
        assert_eq!(Arc::strong_count(&counted), 1, "no key, no context");
        assert_eq!(open_descriptors(), before, "no descriptor");
    });
}
