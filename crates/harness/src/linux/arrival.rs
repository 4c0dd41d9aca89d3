//! When bytes have arrived at this machine, which the kernel notes: a client that waits for a processor reads them later than that.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd},
    ptr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// From now on the kernel notes it for this socket (socket(7), `SO_TIMESTAMPNS`).
pub fn note(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: an open socket, and an integer of the length that is told.
    let refused = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for one control message that carries a time, aligned as the kernel wants it.
#[repr(align(8))]
struct Control([u8; 64]);

/// Reads, and tells how long ago the last of the bytes arrived.
pub fn read(socket: &impl AsFd, to: &mut [u8]) -> io::Result<(usize, Duration)> {
    let mut piece = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let mut control = Control([0; 64]);
    // SAFETY: numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: an open socket; the header points to one piece, which is `to`, and to room for control messages, of the lengths it tells.
    let read = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, 0) };
    let Ok(read) = usize::try_from(read) else { return Err(io::Error::last_os_error()) };
    let now = SystemTime::now();
    let ago = arrival(&message).and_then(|then| now.duration_since(then).ok());
    Ok((read, ago.unwrap_or_default()))
}

/// The time that came with a message, if one did: none does with the end of a stream.
fn arrival(message: &libc::msghdr) -> Option<SystemTime> {
    // SAFETY: the kernel has filled the header in, and whole control messages in the room that it points to. The macros walk them by the
    // lengths that the kernel told; the time lies behind the head of one of its kind, perhaps not aligned.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(message);
        while let Some(control) = head.as_ref() {
            if (control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)
            {
                let time = ptr::read_unaligned(libc::CMSG_DATA(head).cast::<libc::timespec>());
                let since = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
                return UNIX_EPOCH.checked_add(since);
            }
            head = libc::CMSG_NXTHDR(message, head);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        thread,
        time::Instant,
    };

    use super::*;

    #[test]
    fn what_has_lain_there_has_arrived_long_ago() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut from =
            TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (to, _) = listener.accept().expect("accepted");
        note(&to).expect("noted");
        let (before, mut ago) = (Instant::now(), Duration::ZERO);
        // The kernel may begin to note a moment later.
        while ago.is_zero() {
            assert!(before.elapsed() < Duration::from_secs(20), "it is never noted");
            from.write_all(b"x").expect("written");
            let sent = Instant::now();
            while sent.elapsed() < Duration::from_millis(5) {
                thread::yield_now();
            }
            let (count, told) = read(&to, &mut [0; 8]).expect("read");
            assert_eq!(count, 1);
            ago = told;
        }
        assert!(ago >= Duration::from_millis(4) && ago < before.elapsed(), "{ago:?}");
        drop(from);
        assert_eq!(read(&to, &mut [0; 8]).expect("the end"), (0, Duration::ZERO));
    }
}
