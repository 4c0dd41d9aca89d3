//! A file server: accepts with the first data (AcceptEx), answers any request with one file between a head and a tail (TransmitFile), and
//! ends the connection gracefully. The bytes of the file do not pass through the process.
//!
//! `cargo run -p completion-port --example file_server FILE [ADDRESS]`
//!
//! A request is one line; the answer is `FILE <bytes>`, a new line, the file, a new line, `END <bytes>`, a new line.

use std::{
    env,
    fs::File,
    io,
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use completion_port::{Buffer, Completion, CompletionPort, Handle};

/// What an operation was started for.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Accept,
    Transmit,
    End,
}

type Port = CompletionPort<(), Mode>;

/// How long the peer may take to end its side; and, silent, to ask for the file.
const PATIENCE: Duration = Duration::from_secs(10);

#[allow(dead_code, reason = "the test of this example starts it by `serve`")]
fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let Some(path) = args.next() else {
        return Err(io::Error::other("usage: file_server FILE [ADDRESS]"));
    };
    let address = args.next().unwrap_or_else(|| "127.0.0.1:9190".to_owned());
    serve(TcpListener::bind(address)?, File::open(path)?)
}

pub fn serve(listener: TcpListener, file: File) -> io::Result<()> {
    let port = Port::new()?;
    println!("listening on {}, driver {}", listener.local_addr()?, port.driver());
    let (listener, file) = (port.associate(listener, ())?, Arc::new(file));
    for _ in 0..16 {
        listener.accept_with(Buffer::with_capacity(1024), Mode::Accept)?;
    }
    thread::scope(|s| {
        let _close = port.close_on_drop(); // an error below releases the workers
        for _ in 1..port.concurrency() {
            s.spawn(|| work(&port, &listener, &file));
        }
        work(&port, &listener, &file);
        Ok(())
    })
}

fn work(port: &Port, listener: &Handle<(), Mode>, file: &Arc<File>) {
    while let Ok(mut done) = port.get() {
        let accepted = done.accepted();
        let Completion { handle, result, mut buffer, context, .. } = done;
        let asked = matches!(result, Ok(1..)); // to connect and end without a word asks for nothing
        let next = match (context, accepted) {
            (Mode::Accept, Some(stream)) if asked => answer(port, stream, file),
            (Mode::Transmit, _) if result.is_ok() => {
                handle.end(PATIENCE, Mode::End).map(drop).map_err(io::Error::from)
            }
            _ => Ok(()),
        };
        if let Err(e) = result.map(drop).and(next) {
            println!("{context:?}: {e}");
        }
        if let Mode::Accept = context {
            // Clients that say nothing keep one accept each, so the oldest have to go.
            for half in listener.half_accepted() {
                if half.connected > PATIENCE {
                    listener.cancel(half.id);
                }
            }
            buffer.clear();
            if let Err(refused) = listener.accept_with(buffer, Mode::Accept) {
                println!("{refused}");
            }
        }
    }
}

fn answer(port: &Port, stream: TcpStream, file: &Arc<File>) -> io::Result<()> {
    let len = file.metadata()?.len();
    let [head, tail] = [format!("FILE {len}\n"), format!("\nEND {len}\n")];
    let [head, tail] = [head, tail].map(|text| Buffer::from(text.into_bytes()));
    port.associate(stream, ())?.transmit_file(file.clone(), 0..len, head, tail, Mode::Transmit)?;
    Ok(())
}
