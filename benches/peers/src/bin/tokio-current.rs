//! tokio, a current-thread runtime on each of N threads: nothing moves between threads.

use std::io;

use completion_port_peers::{Outcome, Server, Stall};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    task::LocalSet,
};

fn main() -> Outcome {
    let (server, stall) = Server::of_process("tokio-current")?;
    let buffer = server.buffer();
    server.deal(move |mut connections| {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        LocalSet::new().block_on(&runtime, async {
            while let Some(stream) = connections.recv().await {
                stream.set_nonblocking(true)?;
                tokio::task::spawn_local(echo(TcpStream::from_std(stream)?, stall, buffer));
            }
            Ok(())
        })
    })?;
    let threads = server.threads();
    server.run(format_args!("{threads} current-thread runtimes, epoll"), stall)
}

async fn echo(mut stream: TcpStream, stall: &Stall, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stall.on(&buffer[..count]);
        stream.write_all(&buffer[..count]).await?;
    }
}
