//! How the command fails: one line on standard error, and an exit code.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// A failure that ends the command.
///
/// Its message says what failed, on what, and what to do, in one line. Exit code 2 means that the arguments were wrong, 1 that
/// something else was.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    code: u8,
    /// The line, without the `cport: ` before it. Empty: there is nothing to say.
    message: String,
}

impl Failure {
    /// The arguments were wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// The arguments were fine, and something failed.
    pub fn runtime(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// The command ends with code 1 and has nothing more to say.
    pub fn silent() -> Self {
        Self::runtime("")
    }

    /// Says it on standard error.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            // Nobody is left to hear that standard error is closed.
            let _ = writeln!(io::stderr(), "cport: {self}");
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever came from outside.
        for (n, word) in self.message.split_whitespace().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl Error for Failure {}

/// What the system says about `error`, without the "(os error 98)" behind it, which tells a reader nothing, and as a part of a sentence.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let said = match text.rfind(" (os error ") {
        Some(at) if text.ends_with(')') => &text[..at],
        _ => &text,
    };
    // The system has no words for it: then it is told by its kind.
    if said.contains("FormatMessageW() returned error") {
        return error.kind().to_string();
    }
    said.strip_suffix('.').unwrap_or(said).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::usage("first\n  second\n\nthird ");
        assert_eq!(failure.to_string(), "first second third");
    }

    #[test]
    fn the_number_of_the_error_is_left_out() {
        assert_eq!(plain(&io::Error::other("as it is (really)")), "as it is (really)");
        let refused = io::Error::from_raw_os_error(1);
        assert!(!plain(&refused).contains("os error"), "{}", plain(&refused));
    }
}
