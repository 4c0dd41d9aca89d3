//! Standard output and standard error.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
};

/// Standard output without the line buffer, which would cut a large piece in two at its last newline.
pub fn unbuffered() -> io::Result<impl Write> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// Whether standard error is a terminal on which a line can be written over.
pub fn can_erase() -> bool {
    io::stderr().is_terminal()
}
