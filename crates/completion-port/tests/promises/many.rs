//! More at once than any one batch, ring or list of the drivers holds.

use completion_port::{Buffer, DriverKind, OpKind};

use crate::util::{assert_nothing_left, connection, open, scaled, take};

crate::on_each_driver!(completions_at_once);

/// Four operations on each of many connections, both ends on the port, all done before anybody takes the first packet. (The completion
/// ring has 4,096 places; the kernel keeps what is beyond.)
fn completions_at_once(driver: DriverKind) {
    let count = scaled("connections with four completions each", 1_200, 2);
    let port = open::<usize, usize>(driver);
    let mut handles = Vec::new();
    for key in 0..count {
        let (server, client) = connection();
        handles.push(port.associate(server, key).expect("associated"));
        handles.push(port.associate(client, key).expect("associated"));
    }
    for handle in &handles {
        handle.send(vec![*handle.key() as u8].into(), *handle.key()).expect("started");
    }
    for handle in &handles {
        handle.recv(Buffer::with_capacity(8), *handle.key()).expect("started");
    }
    let mut seen = vec![[0; 2]; count];
    for done in take(&port, 4 * count) {
        let key = *done.handle.key();
        assert_eq!(
            (done.context, done.result.as_ref().ok(), &done.buffer[..]),
            (key, Some(&1), &[key as u8][..])
        );
        seen[key][usize::from(done.kind() == OpKind::Send)] += 1;
    }
    assert!(seen.into_iter().all(|seen| seen == [2, 2]));
    assert_nothing_left(&port);
    // Orderly ends by the thousand would leave as many ports in TIME_WAIT.
    for handle in handles {
        handle.set_linger(Some(std::time::Duration::ZERO)).expect("an option");
    }
}
