//! compio: a runtime with its own io_uring on each of N threads.

use std::io;

use compio::{
    BufResult,
    driver::ProactorBuilder,
    io::{AsyncRead, AsyncWriteExt},
    net::TcpStream,
    runtime::{self, RuntimeBuilder},
};
use completion_port_peers::{Outcome, Server, Stall};

fn main() -> Outcome {
    let (server, stall) = Server::of_process("compio")?;
    let driver = builder().build()?.driver_type();
    let buffer = server.buffer();
    server.deal(move |mut connections| {
        builder().build()?.block_on(async {
            while let Some(stream) = connections.recv().await {
                runtime::spawn(echo(TcpStream::from_std(stream)?, stall, buffer)).detach();
            }
            Ok(())
        })
    })?;
    let threads = server.threads();
    server.run(format_args!("{threads} runtimes, {driver:?}, coop_taskrun"), stall)
}

/// With what its documentation calls best "for most cases". It was also the fastest here; `taskrun_flag` beside it, and
/// `single_issuer` with `defer_taskrun`, were slower.
fn builder() -> RuntimeBuilder {
    let mut proactor = ProactorBuilder::new();
    proactor.coop_taskrun(true);
    let mut builder = RuntimeBuilder::new();
    builder.with_proactor(proactor);
    builder
}

async fn echo(mut stream: TcpStream, stall: &Stall, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        let BufResult(count, mut received) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        stall.on(&received);
        let BufResult(sent, back) = stream.write_all(received).await;
        sent?;
        received = back;
        received.clear();
        buffer = received;
    }
}
