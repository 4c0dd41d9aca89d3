//! Winsock's extensions, whose addresses a socket is asked for (`WSAIoctl`). They are the same for all sockets of the system's own.

use std::{ffi::c_void, io, ptr, sync::OnceLock};

use windows_sys::{
    Win32::Networking::WinSock::{
        LPFN_ACCEPTEX, LPFN_CONNECTEX, LPFN_DISCONNECTEX, LPFN_GETACCEPTEXSOCKADDRS,
        LPFN_TRANSMITFILE, SIO_GET_EXTENSION_FUNCTION_POINTER, SOCKET_ERROR, WSAID_ACCEPTEX,
        WSAID_CONNECTEX, WSAID_DISCONNECTEX, WSAID_GETACCEPTEXSOCKADDRS, WSAID_TRANSMITFILE,
        WSAIoctl,
    },
    core::GUID,
};

use super::status;

/// Asks a socket for one.
fn ask(socket: usize, which: &GUID) -> io::Result<*const c_void> {
    let (mut function, mut told) = (ptr::null::<c_void>(), 0);
    // SAFETY: an open socket, a name, and room for an address.
    let result = unsafe {
        WSAIoctl(
            socket,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            ptr::from_ref(which).cast(),
            size_of::<GUID>() as u32,
            (&raw mut function).cast(),
            size_of_val(&function) as u32,
            &raw mut told,
            ptr::null_mut(),
            None,
        )
    };
    if result == SOCKET_ERROR || function.is_null() {
        Err(status::last_of_socket())
    } else {
        Ok(function)
    }
}

macro_rules! extensions {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $which:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub(super) fn $name(socket: usize) -> io::Result<<$kind as Function>::Bare> {
            static KNOWN: OnceLock<usize> = OnceLock::new();
            let at = match KNOWN.get() {
                Some(at) => *at,
                None => {
                    let at = ask(socket, &$which)? as usize;
                    *KNOWN.get_or_init(|| at)
                }
            };
            // SAFETY: the address of the function of this name, from the system, and not null; its type is that of the documentation.
            Ok(unsafe { std::mem::transmute::<usize, <$kind as Function>::Bare>(at) })
        }
    )*};
}

/// Windows' types of functions may be of none; these are not.
pub(super) trait Function {
    type Bare;
}

impl<F> Function for Option<F> {
    type Bare = F;
}

extensions!(
    accept: LPFN_ACCEPTEX = WSAID_ACCEPTEX,
    accept_addresses: LPFN_GETACCEPTEXSOCKADDRS = WSAID_GETACCEPTEXSOCKADDRS,
    connect: LPFN_CONNECTEX = WSAID_CONNECTEX,
    disconnect: LPFN_DISCONNECTEX = WSAID_DISCONNECTEX,
    transmit_file: LPFN_TRANSMITFILE = WSAID_TRANSMITFILE,
);
