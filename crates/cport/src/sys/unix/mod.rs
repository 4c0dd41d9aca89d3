//! Linux, and what is like it.

pub mod limits;
pub mod machine;
pub mod signals;
pub mod sockets;
pub mod terminal;

#[cfg(target_os = "linux")]
pub mod process;

/// Other systems tell it each in its own way, and this command knows none of them.
#[cfg(not(target_os = "linux"))]
pub mod process {
    use std::{io, time::Duration};

    /// A process, looked at from outside.
    #[derive(Debug, Clone, Copy)]
    pub struct Process(pub usize);

    /// What it has taken so far: nobody knows.
    #[derive(Debug, Clone, Copy)]
    pub struct Usage {
        /// Resident memory, in KiB.
        pub resident_kib: u64,
    }

    impl Usage {
        /// Processor time since an earlier look.
        pub fn cpu_since(&self, _: &Usage) -> Duration {
            Duration::ZERO
        }
    }

    impl Process {
        /// What it has taken so far.
        pub fn usage(self) -> io::Result<Usage> {
            Err(io::Error::new(io::ErrorKind::Unsupported, "that takes Linux' /proc, or Windows"))
        }
    }
}
