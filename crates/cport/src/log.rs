//! Where the warnings of the library and of the commands go: standard error.

use std::{env, io};

use tracing_subscriber::filter::LevelFilter;

use crate::error::Failure;

/// The environment variable that sets how much is said.
const LEVEL: &str = "COMPLETION_PORT_LOG";

/// Sends what is logged to standard error: what is at least as grave as `level`, or as `COMPLETION_PORT_LOG` asks for.
pub fn start(level: LevelFilter) -> Result<(), Failure> {
    let level = match env::var(LEVEL) {
        Ok(name) if !name.is_empty() => name.parse().map_err(|_| {
            Failure::usage(format!(
                "{LEVEL}={name}: no such level; use off, error, warn, info, debug or trace"
            ))
        })?,
        _ => level,
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_max_level(level)
        .with_target(false)
        .init();
    Ok(())
}
