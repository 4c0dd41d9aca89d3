//! The client of the notes: a line out, the same line back.

use std::io::{self, BufRead, Write};

use completion_port::Buffer;

use super::{Handle, Port, Step, connect::failed, lost};
use crate::error::{Failure, plain};

/// What is asked, word for word as in the notes.
const PROMPT: &str = "Input message(Q to Quit): ";

/// Asks for lines until `q`, `Q` or the end of the input, and prints what the server makes of each.
pub fn run(
    port: &Port,
    server: &Handle,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    loop {
        say(output, PROMPT.as_bytes())?;
        let mut line = Vec::new();
        let read = input.read_until(b'\n', &mut line);
        read.map_err(|error| {
            Failure::runtime(format!("cannot read standard input: {}", plain(&error)))
        })?;
        if line.is_empty() {
            // The end of the input; the prompt still stands on the last line.
            return say(output, b"\n");
        }
        if matches!(line.trim_ascii(), b"q" | b"Q") {
            return Ok(());
        }
        let echo = exchange(port, server, line)?;
        say(output, b"Message from server: ")?;
        say(output, &echo)?;
        if !echo.ends_with(b"\n") {
            say(output, b"\n")?;
        }
    }
}

/// Sends a line and reads until as much has come back, in however many pieces.
fn exchange(port: &Port, server: &Handle, line: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let length = line.len();
    let refused = |error: io::Error| lost(&error, "while a line was sent");
    server.send(Buffer::from(line), Step::Send).map_err(|refusal| refused(refusal.error))?;
    let mut waiting = Some(Buffer::with_capacity(length));
    let mut echo = None;
    let mut sent = false;
    loop {
        // The spare room of the buffer is what is still missing, so that not a byte of the next line can come with this one.
        if let Some(buffer) = waiting.take() {
            server.recv(buffer, Step::Recv).map_err(|refusal| refused(refusal.error))?;
        }
        let done = port.get().map_err(|error| refused(failed(error)))?;
        let count = done.result.map_err(|error| lost(&error, "before the line was back"))?;
        match done.context {
            Step::Send => sent = true,
            _ if count == 0 => {
                return Err(Failure::runtime(format!(
                    "the server closed the connection early: {} of {length} bytes came back",
                    done.buffer.len()
                )));
            }
            _ if done.buffer.len() >= length => echo = Some(Vec::from(done.buffer)),
            _ => waiting = Some(done.buffer),
        }
        if sent && let Some(echo) = echo.take() {
            return Ok(echo);
        }
    }
}

/// Writes, and lets it be seen at once.
fn say(output: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    output.write_all(bytes).and_then(|()| output.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(),
        _ => Failure::runtime(format!("cannot write to standard output: {}", plain(&error))),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::*;
    use crate::{args::Address, client::connect::connect};

    /// Runs the prompt on `input` against a server that does `serve` with its one connection.
    fn dialogue(
        input: &str,
        serve: impl FnOnce(TcpStream) + Send + 'static,
    ) -> (String, Result<(), Failure>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address: Address =
            listener.local_addr().expect("its address").to_string().parse().expect("an address");
        let server = thread::spawn(move || serve(listener.accept().expect("a client").0));
        let (port, handle) = connect(&address).expect("connected");
        let mut output = Vec::new();
        let result = run(&port, &handle, &mut input.as_bytes(), &mut output);
        drop((handle, port));
        server.join().expect("the server ran to its end");
        (String::from_utf8(output).expect("text"), result)
    }

    /// Echoes byte by byte, so that every line comes back in pieces.
    fn dribble(mut stream: TcpStream) {
        stream.set_nodelay(true).expect("nodelay");
        let mut byte = [0];
        while matches!(stream.read(&mut byte), Ok(1)) {
            stream.write_all(&byte).expect("echoed");
        }
    }

    #[test]
    fn lines_come_back_whole_until_q() {
        let (said, result) = dialogue("hello, port\n\nlast\nQ\nnever sent\n", dribble);
        assert!(result.is_ok(), "{result:?}");
        let expected = format!(
            "{PROMPT}Message from server: hello, port\n{PROMPT}Message from server: \n{PROMPT}Message from server: last\n{PROMPT}"
        );
        assert_eq!(said, expected);
    }

    #[test]
    fn the_end_of_the_input_quits() {
        let (said, result) = dialogue("no newline", dribble);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(said, format!("{PROMPT}Message from server: no newline\n{PROMPT}\n"));
    }

    #[test]
    fn a_server_that_closes_early_is_reported() {
        let (_, result) = dialogue("hello\n", |mut stream| {
            let mut line = [0; 6];
            stream.read_exact(&mut line).expect("the line");
            stream.write_all(b"he").expect("a part of it");
        });
        let failure = result.expect_err("it closed early").to_string();
        assert_eq!(failure, "the server closed the connection early: 2 of 6 bytes came back");
    }
}
