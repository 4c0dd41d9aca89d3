//! The same bytes to many, without a copy for each.

use std::{io::Read, sync::Arc, thread};

use completion_port::{Buffer, DriverKind};

use crate::util::{assert_nothing_left, assert_same, open, pair, pattern, scaled, take};

crate::on_each_driver!(of_one_shared_buffer);

fn of_one_shared_buffer(driver: DriverKind) {
    let count = scaled("receivers of one broadcast", 100, 2);
    let port = open::<usize, ()>(driver);
    let news: Arc<[u8]> = pattern(0, 100_000).into();
    let (servers, mut clients): (Vec<_>, Vec<_>) = (0..count).map(|key| pair(&port, key)).unzip();
    for server in &servers {
        server.send(Buffer::from(news.clone()), ()).expect("started");
        // The same bytes as one piece of many, too.
        server
            .send_vectored(vec![b"again: ".to_vec().into(), news.clone().into()], ())
            .expect("started");
    }
    let packets = thread::scope(|s| {
        s.spawn(|| {
            let mut read = vec![0; 2 * news.len() + 7];
            for client in &mut clients {
                client.read_exact(&mut read).expect("all of it");
                assert_same(&read[..news.len()], &news, "the news");
                assert_same(&read[news.len() + 7..], &news, "the news again");
            }
        });
        take(&port, 2 * count)
    });
    for mut done in packets {
        let shared = done.buffers().pop().unwrap_or(done.buffer);
        assert_eq!(shared.as_ptr(), news.as_ptr(), "no copy was made");
        assert!(done.result.expect("whole") >= news.len());
    }
    assert_nothing_left(&port);
    assert_eq!(Arc::strong_count(&news), 1, "nobody holds it any more");
}
