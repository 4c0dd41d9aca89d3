//! `Refused`: an error like others, and everything in it comes back.

use std::{error::Error, io};

use completion_port::{Buffer, CompletionPort, Refused};

/// A context that is nothing but itself: not printable, not comparable.
struct Opaque(u8);

fn refused() -> Refused<Opaque, Buffer> {
    let port = CompletionPort::<(), Opaque>::new().expect("a port");
    port.key(()).send(Buffer::from(&b"bytes"[..]), Opaque(7)).expect_err("no socket")
}

#[test]
fn gives_back_what_it_was_given() {
    let Refused { error, context, buffer, .. } = refused();
    assert_eq!(
        (error.kind(), context.0, &buffer[..]),
        (io::ErrorKind::InvalidInput, 7, &b"bytes"[..])
    );
}

#[test]
fn is_an_error_whatever_is_in_it() {
    let refused = refused();
    assert_eq!(refused.to_string(), format!("the operation was not started: {}", refused.error));
    assert!(
        format!("{refused:?}").contains("InvalidInput") || format!("{refused:?}").contains("error")
    );
    let error: &dyn Error = &refused;
    assert_eq!(error.source().expect("the reason").to_string(), refused.error.to_string());
}

/// `?` in a function of `io::Result`, and in one of boxed errors.
#[test]
fn turns_into_other_errors() {
    fn as_io(port: &CompletionPort<(), u8>) -> io::Result<()> {
        port.key(()).post(0, 1)?;
        port.key(()).recv_lent(1)?;
        unreachable!("a key has no socket");
    }
    fn as_box(port: &CompletionPort<(), u8>) -> Result<(), Box<dyn Error>> {
        port.key(()).recv(Buffer::with_capacity(1), 1)?;
        unreachable!("a key has no socket");
    }
    let port = CompletionPort::new().expect("a port");
    assert_eq!(as_io(&port).expect_err("no socket").kind(), io::ErrorKind::InvalidInput);
    let error = as_box(&port).expect_err("no socket");
    assert!(
        error.downcast_ref::<Refused<u8, Buffer>>().is_some_and(|refused| refused.context == 1)
    );
}

/// As an error that crosses threads.
#[test]
fn goes_where_its_parts_go() {
    const fn shared<T: Send + Sync>() {}
    const { shared::<Refused<u8, Buffer>>() }
    const { shared::<Refused<u8, Vec<Buffer>>>() }
    const { shared::<Refused<u8>>() }
}
