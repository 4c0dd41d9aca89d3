//! `cport`: the command of the `completion-port` library.
//!
//! `cport serve` is the echo server of the IOCP notes, `cport client` is their client, `cport bench` puts a load on such a
//! server, and `cport doctor` says which driver a program on this machine gets, and why. All of it is written on the public interface
//! of the library, without `unsafe` but for the calls to Windows in [`sys`].

#![deny(unsafe_code)]
#![deny(missing_docs, clippy::missing_docs_in_private_items)]

mod args;
mod bench;
mod client;
mod doctor;
mod error;
mod log;
mod output;
mod serve;
mod sys;

use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

use crate::{args::Command, error::Failure};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Reads the arguments and runs the command that they name.
fn run() -> Result<(), Failure> {
    let Some(command) = args::parse()? else {
        return Ok(());
    };
    log::start(match command {
        Command::Serve(_) => LevelFilter::WARN,
        // That a slower driver has to do is no news to somebody who sends a file, and the doctor says it in its own words.
        Command::Client(_) | Command::Bench(_) | Command::Doctor(_) => LevelFilter::ERROR,
    })?;
    match command {
        Command::Serve(options) => serve::run(&options),
        Command::Client(options) => client::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Doctor(options) => doctor::run(&options),
    }
}
