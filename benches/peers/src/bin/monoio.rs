//! monoio: a runtime with its own io_uring on each of N threads.

use std::io;

use completion_port_peers::{BUFFER, Outcome, Server, Stall};
use monoio::{
    IoUringDriver, Runtime, RuntimeBuilder,
    io::{AsyncReadRent, AsyncWriteRentExt},
    net::TcpStream,
};

fn main() -> Outcome {
    let (server, stall) = Server::of_process("monoio")?;
    drop(build()?);
    server.deal(move |mut connections| {
        build()?.block_on(async {
            while let Some(stream) = connections.recv().await {
                monoio::spawn(echo(TcpStream::from_std(stream)?, stall));
            }
            Ok(())
        })
    })?;
    let threads = server.threads();
    server.run(format_args!("{threads} runtimes, io_uring, coop_taskrun"), stall)
}

fn build() -> io::Result<Runtime<IoUringDriver>> {
    let mut ring = io_uring_06::IoUring::builder();
    ring.setup_coop_taskrun();
    RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).build()
}

async fn echo(mut stream: TcpStream, stall: &Stall) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        let (count, received) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        stall.on(&received);
        let (sent, mut received) = stream.write_all(received).await;
        sent?;
        received.clear();
        buffer = received;
    }
}
