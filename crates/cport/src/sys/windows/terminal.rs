//! Standard output and standard error.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::windows::io::{AsHandle, AsRawHandle},
};

use windows_sys::Win32::System::Console::{
    ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, SetConsoleMode,
};

/// Standard output without the line buffer, which would cut a large piece in two at its last newline. A console keeps it: it wants
/// text, and the standard library knows how.
pub fn unbuffered() -> io::Result<Box<dyn Write>> {
    let out = io::stdout();
    if out.is_terminal() {
        return Ok(Box::new(out));
    }
    Ok(Box::new(File::from(out.as_handle().try_clone_to_owned()?)))
}

/// Whether standard error is a console on which a line can be written over: it must be told to obey the sequences for that.
pub fn can_erase() -> bool {
    let console = io::stderr().as_raw_handle();
    let mut mode = 0;
    // SAFETY: the handle is the process's own, and `mode` is written only during the call. Where it is no console, both calls fail.
    unsafe {
        GetConsoleMode(console, &mut mode) != 0
            && SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) != 0
    }
}
