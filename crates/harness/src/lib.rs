//! Programs that check an echo server from outside, as a stranger would: they share no code with the library
//! that the server is built from, so a fault there cannot hide itself here.
//!
//! | program | checks |
//! | --- | --- |
//! | `storm` | many connections at once, every byte at its position, a quarter ended by RST |
//! | `idle` | what idle connections cost the server: processor, wake-ups, memory |
//! | `crowd` | what very many connections cost the server and the kernel, and what the idle ones cost the others |
//! | `datagrams` | datagrams of every size, byte by byte, and the kernel's account of those that are lost |
//! | `stop` | SIGTERM under load: what was read is sent, nobody is reset, the server ends in time |
//! | `ping` | how long messages take, and what they cost the server |
//! | `deny-io-uring` | not a check: runs a command to which io_uring is denied |
//! | `toy-echo` | not a check: an echo server with faults to order, to test these programs on |
//!
//! Each prints one line of figures that ends in `ok` or `FAILED`, and exits with 0, or 1 if the check failed, or 2
//! if it could not be made (bad arguments, no server).

pub mod args;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod loopback;
pub mod pattern;
pub mod random;

use std::{fmt::Display, process::ExitCode};

/// Why a program gives up: the text for the user. Becomes exit code 2.
#[derive(Debug)]
pub struct Trouble(String);

impl Trouble {
    fn new(text: impl Display) -> Trouble {
        Trouble(text.to_string())
    }

    /// For `map_err`: names what was being done.
    fn at<E: Display>(what: impl Display) -> impl FnOnce(E) -> Trouble {
        move |error| Trouble(format!("{what}: {error}"))
    }
}

/// Turns the outcome of a program into its exit code: 0 checked and good, 1 checked and bad, 2 not checked.
pub fn finish(program: &str, outcome: Result<bool, Trouble>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Trouble(text)) => {
            eprintln!("{program}: {text}");
            ExitCode::from(2)
        }
    }
}

/// Makes the `main` of a program from its module, and elsewhere than on Linux a `main` that says no.
#[macro_export]
macro_rules! program {
    ($name:literal, $module:ident) => {
        #[cfg(target_os = "linux")]
        fn main() -> std::process::ExitCode {
            $crate::finish($name, $crate::linux::$module::run())
        }

        #[cfg(not(target_os = "linux"))]
        fn main() -> std::process::ExitCode {
            eprintln!(concat!($name, ": for Linux only"));
            std::process::ExitCode::from(2)
        }
    };
}
