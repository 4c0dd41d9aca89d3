//! Whether another thread of this process is blocked, by the cheapest means that the machine allows.
//!
//! Linux: `/proc/self/task/T/syscall` (proc(5)) says `running` of a thread that runs or could, and anything else of one that is
//! blocked, in a system call (its number) or outside one, in a page fault say (-1). Where that file is refused, `stat` has a letter.
//! Reading it takes 2 to 4 us.

use std::{fs::File, io, os::unix::fs::FileExt, sync::OnceLock};

/// What was seen of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// On a processor, or waiting for one.
    Running,
    Blocked,
    /// It cannot be told here, or the thread is gone.
    Unknown,
}

/// Looks at one thread.
pub(crate) struct Observer {
    /// As the kernel numbers threads; 0 where that is not known.
    thread: i32,
    /// Opened at the first look: most threads are never looked at.
    file: OnceLock<Option<(File, Means)>>,
}

#[derive(Debug, Clone, Copy)]
enum Means {
    Syscall,
    Stat,
}

impl Observer {
    /// Of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        #[cfg(target_os = "linux")]
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        #[cfg(not(target_os = "linux"))]
        let thread = 0;
        Self { thread, file: OnceLock::new() }
    }

    /// Holds one descriptor from the first look on, if it can have it.
    pub(crate) fn look(&self) -> Seen {
        match self.file.get_or_init(|| {
            open(self.thread, Means::Syscall).or_else(|| open(self.thread, Means::Stat))
        }) {
            Some((file, means)) => read(file, *means).unwrap_or(Seen::Unknown),
            None => Seen::Unknown,
        }
    }
}

fn open(thread: i32, means: Means) -> Option<(File, Means)> {
    let name = match means {
        Means::Syscall => "syscall",
        Means::Stat => "stat",
    };
    let file = File::open(format!("/proc/self/task/{thread}/{name}")).ok()?;
    // Some sandboxes let it be opened and not read.
    (read(&file, means).ok()? != Seen::Unknown).then_some((file, means))
}

fn read(file: &File, means: Means) -> io::Result<Seen> {
    let mut text = [0; 128];
    let length = file.read_at(&mut text, 0)?;
    let text = &text[..length];
    Ok(match means {
        Means::Syscall if text.is_empty() => Seen::Unknown,
        Means::Syscall if text.starts_with(b"running") => Seen::Running,
        Means::Syscall => Seen::Blocked,
        // The letter stands behind the name, which is in parentheses and may hold anything.
        Means::Stat => {
            match text.iter().rposition(|b| *b == b')').and_then(|at| text.get(at + 2)) {
                Some(b'R') => Seen::Running,
                Some(b'S' | b'D' | b'T' | b't') => Seen::Blocked,
                _ => Seen::Unknown,
            }
        }
    })
}
