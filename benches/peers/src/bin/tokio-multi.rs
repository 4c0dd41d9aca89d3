//! tokio, the multi-thread runtime: N workers that steal from each other, a task for each connection.

use std::io;

use completion_port_peers::{Outcome, Server, Stall};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
};

fn main() -> Outcome {
    let (server, stall) = Server::of_process("tokio-multi")?;
    let (threads, buffer) = (server.threads(), server.buffer());
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(threads).enable_io().build()?;
    let listener = server.listener()?;
    listener.set_nonblocking(true)?;
    let _inside = runtime.enter();
    let listener = TcpListener::from_std(listener)?;
    runtime.spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(echo(stream, stall, buffer));
                }
                Err(error) => {
                    eprintln!("accept: {error}");
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    server.run(format_args!("multi-thread runtime, {threads} workers, epoll"), stall)
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
