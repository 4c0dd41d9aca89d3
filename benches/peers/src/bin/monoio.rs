//! monoio: a runtime with its own io_uring on each of N threads.

use std::io;

use completion_port_peers::{Outcome, Server, Stall};
use monoio::{
    IoUringDriver, Runtime, RuntimeBuilder,
    io::{AsyncReadRent, AsyncWriteRentExt},
    net::TcpStream,
};

fn main() -> Outcome {
    let (server, stall) = Server::of_process("monoio")?;
    drop(build()?); // whether it can be had at all
    let buffer = server.buffer();
    server.deal(move |mut connections| {
        build()?.block_on(async {
            while let Some(stream) = connections.recv().await {
                monoio::spawn(echo(TcpStream::from_std(stream)?, stall, buffer));
            }
            Ok(())
        })
    })?;
    let threads = server.threads();
    server.run(format_args!("{threads} runtimes, io_uring, single_issuer and defer_taskrun"), stall)
}

/// The set-up flags with which it was fastest here, of: none, `coop_taskrun` without and with `taskrun_flag`, and these.
fn build() -> io::Result<Runtime<IoUringDriver>> {
    let mut ring = io_uring_06::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).build()
}

async fn echo(mut stream: TcpStream, stall: &Stall, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
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
