//! The echo client: sends a line and reads back all of it, however many pieces it comes in.
//!
//! `cargo run -p completion-port --example echo_client [ADDRESS]`

use std::{
    env,
    io::{self, BufRead, Read, Write},
    net::TcpStream,
};

#[allow(dead_code, reason = "the test of this example starts it by `talk`")]
fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9190".to_owned());
    talk(TcpStream::connect(&address)?, io::stdin().lock(), io::stdout())
}

pub fn talk(
    mut server: TcpStream,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    loop {
        write!(output, "Input message(Q to Quit): ")?; // fputs
        output.flush()?;
        let mut message = Vec::new();
        let end = input.read_until(b'\n', &mut message)? == 0; // fgets
        if end || matches!(message.as_slice(), b"q\n" | b"Q\n") {
            return Ok(());
        }
        server.write_all(&message)?; // send
        // One send may come back in several pieces: read until all of it is there.
        let mut echo = vec![0; message.len()];
        server.read_exact(&mut echo)?; // recv, as often as it takes
        write!(output, "Message from server: {}", String::from_utf8_lossy(&echo))?; // printf
    }
}
