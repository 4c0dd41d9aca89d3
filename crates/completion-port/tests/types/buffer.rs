//! `Buffer`, against a `Vec<u8>`: owned, shared and lent.

use std::sync::{Arc, LazyLock};

use completion_port::{Buffer, CompletionPort, PoolOptions};
use proptest::prelude::*;

#[test]
fn is_small_and_goes_anywhere() {
    const fn shared<T: Send + Sync>() {}
    const { shared::<Buffer>() }
    const { assert!(size_of::<Buffer>() <= 32) }
}

/// One page, so that a lent buffer can be outgrown.
const LENT: usize = 4096;

fn open() -> CompletionPort<(), ()> {
    let pool = PoolOptions::new().buffer_size(LENT).limit(4);
    CompletionPort::builder().pool(pool).build().expect("a port")
}

/// For the cases of one property, which run one after the other: each counts what is lent.
static PORT: LazyLock<CompletionPort<(), ()>> = LazyLock::new(open);

#[derive(Debug, Clone)]
enum Start {
    New,
    Owned { bytes: Vec<u8>, room: usize },
    Shared(Vec<u8>),
    Lent(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Step {
    Extend(Vec<u8>),
    Truncate(usize),
    Clear,
    Overwrite { at: usize, byte: u8 },
    ThroughAVec,
    Take,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(any::<u8>(), 1000..2000)
    ]
}

fn starts() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::New),
        (bytes(), 0..100_usize).prop_map(|(bytes, room)| Start::Owned { bytes, room }),
        bytes().prop_map(Start::Shared),
        bytes().prop_map(Start::Lent),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => bytes().prop_map(Step::Extend),
        2 => (0..3000_usize).prop_map(Step::Truncate),
        1 => Just(Step::Clear),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Step::Overwrite { at, byte }),
        1 => Just(Step::ThroughAVec),
        1 => Just(Step::Take),
    ]
}

proptest! {
    // The minimal failing case is printed; a file of old ones has no place beside the sources.
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn is_a_vector_of_bytes(start in starts(), steps in prop::collection::vec(steps(), 0..12)) {
        let (mut buffer, mut model, original) = match start.clone() {
            Start::New => (Buffer::new(), Vec::new(), None),
            Start::Owned { bytes, room } => {
                let mut own = Vec::with_capacity(bytes.len() + room);
                own.extend_from_slice(&bytes);
                let place = own.as_ptr();
                let buffer = Buffer::from(own);
                prop_assert!(buffer.as_ptr() == place, "no copy");
                (buffer, bytes, None)
            }
            Start::Shared(bytes) => {
                let shared: Arc<[u8]> = bytes[..].into();
                let buffer = Buffer::from(shared.clone());
                prop_assert!(buffer.as_ptr() == shared.as_ptr() && buffer.spare() == 0);
                (buffer, bytes.clone(), Some((shared, bytes)))
            }
            Start::Lent(bytes) => {
                let mut buffer = PORT.lend().expect("nobody keeps any");
                prop_assert_eq!((buffer.len(), buffer.capacity()), (0, LENT), "empty, whatever was in it");
                buffer.extend_from_slice(&bytes);
                (buffer, bytes, None)
            }
        };
        // A lent buffer stays one as long as everything fits.
        let mut lent = matches!(start, Start::Lent(_));
        for step in steps {
            match step {
                Step::Extend(more) => {
                    lent &= model.len() + more.len() <= LENT;
                    buffer.extend_from_slice(&more);
                    model.extend(more);
                }
                Step::Truncate(len) => {
                    buffer.truncate(len);
                    model.truncate(len);
                }
                Step::Clear => {
                    buffer.clear();
                    model.clear();
                }
                Step::Overwrite { at, byte } => {
                    let own = buffer.as_mut_slice();
                    prop_assert_eq!(own.len(), model.len());
                    if !own.is_empty() {
                        let at = at % own.len();
                        (own[at], model[at]) = (byte, byte);
                    }
                }
                Step::ThroughAVec => {
                    buffer = Vec::from(buffer).into();
                    lent = false;
                }
                Step::Take => {
                    let taken = std::mem::take(&mut buffer);
                    prop_assert!(buffer.is_empty() && buffer.spare() == 0, "nothing is left behind");
                    buffer = taken;
                }
            }
            prop_assert_eq!(&buffer[..], &model[..]);
            prop_assert_eq!(buffer.as_ref().len() + buffer.spare(), buffer.capacity());
            prop_assert_eq!(buffer.is_lent(), lent);
            prop_assert!(!lent || buffer.capacity() == LENT);
        }
        if let Some((shared, bytes)) = original {
            prop_assert_eq!(&shared[..], &bytes[..], "who else holds the shared bytes sees no change");
        }
        let place = (!lent && buffer.spare() > 0).then_some(buffer.as_ptr());
        let own = Vec::from(buffer);
        prop_assert!(place.is_none_or(|place| own.as_ptr() == place), "an owned buffer becomes a vector without a copy");
        prop_assert_eq!(own, model);
        prop_assert_eq!(PORT.snapshot().pool.lent, 0);
    }
}

#[test]
fn comes_from_slices_and_says_what_it_is() {
    assert_eq!(&Buffer::from(&b"copied"[..])[..], b"copied");
    let port = open();
    let lent = port.lend();
    let texts = [
        (Buffer::with_capacity(10), "owned, 0 of 10 bytes"),
        (Buffer::from(Arc::<[u8]>::from(&b"news"[..])), "shared, 4 of 4 bytes"),
        (lent.expect("nobody keeps any"), "lent, 0 of 4096 bytes"),
    ];
    for (buffer, text) in texts {
        assert!(format!("{buffer:?}").contains(text), "{buffer:?}");
    }
    // A buffer's content is nobody's business in a log.
    assert!(!format!("{:?}", Buffer::from(&b"secret"[..])).contains("secret"));
}
