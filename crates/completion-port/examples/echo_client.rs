//! The echo client: sends a line and reads back all of it, however many pieces it comes in.
//!
//! `cargo run -p completion-port --example echo_client [ADDRESS]`

use std::{
    env,
    io::{self, BufRead, Read, Write},
    net::TcpStream,
};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9190".to_owned());
    let mut server = TcpStream::connect(&address)?;
    let mut lines = io::stdin().lock();
    loop {
        print!("Input message(Q to Quit): ");
        io::stdout().flush()?;
        let mut message = Vec::new();
        if lines.read_until(b'\n', &mut message)? == 0
            || matches!(message.as_slice(), b"q\n" | b"Q\n")
        {
            return Ok(());
        }
        server.write_all(&message)?;
        // One send may come back in several pieces: read until all of it is there.
        let mut echo = vec![0; message.len()];
        server.read_exact(&mut echo)?;
        print!("Message from server: {}", String::from_utf8_lossy(&echo));
    }
}
