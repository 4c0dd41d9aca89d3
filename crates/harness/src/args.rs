//! The arguments of the programs: options are `--name value` or a bare `--flag`, everything else is positional.

use std::{env, fmt::Display, net::SocketAddr, str::FromStr};

use crate::Trouble;

/// What is left of the command line; each option is taken out as it is asked for, and [`Args::done`] refuses the rest.
#[derive(Debug)]
pub struct Args(Vec<String>);

impl Args {
    /// The arguments of this process, without its name.
    pub fn of_process() -> Args {
        Args(env::args().skip(1).collect())
    }

    /// Takes `--name value`, or gives `default`.
    pub fn option<T: FromStr<Err: Display>>(
        &mut self,
        name: &str,
        default: T,
    ) -> Result<T, Trouble> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// Takes `--name value` if it is there.
    pub fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Trouble> {
        let Some(at) = self.0.iter().position(|given| given == name) else {
            return Ok(None);
        };
        self.0.remove(at);
        if at == self.0.len() {
            return Err(Trouble::new(format!("{name} wants a value")));
        }
        let value = self.0.remove(at);
        value.parse().map(Some).map_err(Trouble::at(format!("{name} {value}")))
    }

    /// Takes `--name` if it is there.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|given| given != name);
        self.0.len() < before
    }

    /// Takes a positional argument; call it when all options have been taken.
    pub fn positional(&mut self, what: &str) -> Result<String, Trouble> {
        if self.0.is_empty() {
            return Err(Trouble::new(format!("{what} is missing")));
        }
        Ok(self.0.remove(0))
    }

    /// Takes the address of the server under test. Only loopback is ever loaded.
    pub fn loopback_address(&mut self) -> Result<SocketAddr, Trouble> {
        let text = self.positional("the address of the server")?;
        let address: SocketAddr = text.parse().map_err(Trouble::at(&text))?;
        if !address.ip().is_loopback() {
            return Err(Trouble::new(format!("{address} is not a loopback address")));
        }
        Ok(address)
    }

    /// Refuses whatever was not asked for.
    pub fn done(self) -> Result<(), Trouble> {
        match self.0.first() {
            None => Ok(()),
            Some(odd) => Err(Trouble::new(format!("unexpected argument {odd}"))),
        }
    }
}
