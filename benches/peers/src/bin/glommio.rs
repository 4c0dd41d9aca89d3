//! glommio: an executor with its own io_urings on each of N threads.

use std::io;

use completion_port_peers::{Outcome, Server, Stall};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, net::TcpStream};

fn main() -> Outcome {
    let (server, stall) = Server::of_process("glommio")?;
    drop(build()?); // whether it can be had at all
    let buffer = server.buffer();
    server.deal(move |mut connections| {
        build()?.run(async {
            while let Some(stream) = connections.recv().await {
                let stream = TcpStream::from(socket2_04::Socket::from(stream));
                glommio::spawn_local(echo(stream, stall, buffer)).detach();
            }
            Ok(())
        })
    })?;
    let threads = server.threads();
    server.run(format_args!("{threads} executors, io_uring, unbound"), stall)
}

fn build() -> io::Result<LocalExecutor> {
    LocalExecutorBuilder::new(Placement::Unbound).make().map_err(io::Error::from)
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
