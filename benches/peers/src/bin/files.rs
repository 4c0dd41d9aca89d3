//! Random reads of a file, so many at once, until the time is up: by completion-port, by io_uring by hand, by `tokio::fs`.
//!
//!     files make PATH BYTES
//!     files ours|uring|tokio PATH [--depth 64] [--seconds 4] [--seed 1]
//!
//! Each block of 4 KiB begins with its own number, which every reader checks. The last line printed has the reads per second, and the
//! CPU time of the process for each, whichever of its threads took it.

use std::{
    env,
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use completion_port::{Buffer, CompletionPort};
use completion_port_peers::{Outcome, uring::push};
use io_uring::{IoUring, opcode, types};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

const BLOCK: usize = 4096;

/// Where the next read begins: xorshift64.
struct Places {
    state: u64,
    blocks: u64,
}

impl Places {
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) % self.blocks * BLOCK as u64
    }
}

/// What the command line asks for.
struct Run {
    path: String,
    depth: usize,
    time: Duration,
    places: Places,
}

fn main() -> Outcome {
    let args: Vec<String> = env::args().skip(1).collect();
    let [engine, path, rest @ ..] = &args[..] else {
        return Err("usage: files make PATH BYTES | ours|uring|tokio PATH [--depth N] [--seconds S] [--seed N]".into());
    };
    if engine == "make" {
        return make(path, rest.first().ok_or("make wants a size")?.parse()?);
    }
    let blocks = std::fs::metadata(path)?.len() / BLOCK as u64;
    if blocks == 0 {
        return Err(format!("{path} has no block to read").into());
    }
    let places = Places { state: 1, blocks };
    let mut run = Run { path: path.clone(), depth: 64, time: Duration::from_secs(4), places };
    for option in rest.chunks(2) {
        match option {
            [name, value] if name == "--depth" => run.depth = value.parse()?,
            [name, value] if name == "--seconds" => {
                run.time = Duration::from_secs_f64(value.parse()?);
            }
            [name, value] if name == "--seed" => run.places.state = value.parse::<u64>()?.max(1),
            _ => return Err(format!("{option:?}: an unknown argument, or one that wants a value").into()),
        }
    }
    let cpu = cpu();
    let begun = Instant::now();
    let reads = match engine.as_str() {
        "ours" => ours(run)?,
        "uring" => by_hand(run)?,
        "tokio" => tokio(run)?,
        _ => return Err(format!("{engine}: no such engine").into()),
    };
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), (self::cpu() - cpu).as_secs_f64());
    println!("reads={reads} per_second={:.0} cpu_ns={:.1}", reads as f64 / wall, cpu * 1e9 / reads as f64);
    Ok(())
}

/// CPU time of the process so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn make(path: &str, bytes: u64) -> Outcome {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for number in 0..bytes / BLOCK as u64 {
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(&(number * BLOCK as u64).to_le_bytes());
        file.write_all(&block)?;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

/// That these are the bytes from there.
fn check(block: &[u8], place: u64) -> io::Result<()> {
    if block.len() == BLOCK && block[..8] == place.to_le_bytes() {
        return Ok(());
    }
    Err(io::Error::other(format!("{} bytes that are not those at {place}", block.len())))
}

fn ours(mut run: Run) -> io::Result<u64> {
    let port: CompletionPort<(), u64> = CompletionPort::builder().limit(1).build()?;
    eprintln!("driver {}", port.driver());
    let file = port.associate(File::open(&run.path)?, ())?;
    let end = Instant::now() + run.time;
    let mut reads = 0;
    let mut under_way = 0;
    let mut read = |buffer: Buffer| -> io::Result<()> {
        let place = run.places.next();
        file.read_at(buffer, place, place).map_err(|refused| refused.error)?;
        Ok(())
    };
    for _ in 0..run.depth {
        read(Buffer::with_capacity(BLOCK))?;
        under_way += 1;
    }
    let (mut done, mut over) = (Vec::new(), false);
    while under_way > 0 {
        port.get_many(&mut done, run.depth, None)?;
        for one in done.drain(..) {
            under_way -= 1;
            one.result?;
            check(&one.buffer, one.context)?;
            reads += 1;
            over |= reads % 64 == 0 && Instant::now() >= end;
            if !over {
                let mut buffer = one.buffer;
                buffer.clear();
                read(buffer)?;
                under_way += 1;
            }
        }
    }
    Ok(reads)
}

fn by_hand(mut run: Run) -> io::Result<u64> {
    let mut ring: IoUring = IoUring::builder().setup_coop_taskrun().build(256)?;
    let file = File::open(&run.path)?;
    let fd = types::Fd(file.as_raw_fd());
    let mut blocks: Vec<(Box<[u8]>, u64)> =
        (0..run.depth).map(|_| (vec![0; BLOCK].into(), 0)).collect();
    let end = Instant::now() + run.time;
    let mut start = |ring: &mut IoUring, number: usize, blocks: &mut Vec<(Box<[u8]>, u64)>| {
        let (block, place) = &mut blocks[number];
        *place = run.places.next();
        let request = opcode::Read::new(fd, block.as_mut_ptr(), BLOCK as u32)
            .offset(*place)
            .build()
            .user_data(number as u64);
        // SAFETY: the block stays where it is, and is looked at after the completion only; see the end.
        unsafe { push(ring, &request) }
    };
    for number in 0..run.depth {
        start(&mut ring, number, &mut blocks)?;
    }
    let mut reads = 0;
    let mut done = Vec::new();
    let mut under_way = run.depth;
    let mut over = false;
    while under_way > 0 {
        ring.submit_and_wait(1)?;
        done.extend(ring.completion().map(|entry| (entry.user_data() as usize, entry.result())));
        for (number, result) in done.drain(..) {
            under_way -= 1;
            let (block, place) = &blocks[number];
            if result < 0 {
                return Err(io::Error::from_raw_os_error(-result));
            }
            check(&block[..result as usize], *place)?;
            reads += 1;
            over |= reads % 64 == 0 && Instant::now() >= end;
            if !over {
                start(&mut ring, number, &mut blocks)?;
                under_way += 1;
            }
        }
    }
    Ok(reads)
}

fn tokio(run: Run) -> Result<u64, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    let end = Instant::now() + run.time;
    let tasks: Vec<_> = (0..run.depth as u64)
        .map(|number| {
            let (path, blocks) = (run.path.clone(), run.places.blocks);
            let state = (run.places.state << 20 | number + 1).max(1);
            runtime.spawn(async move {
                let mut file = tokio::fs::File::open(path).await?;
                let mut places = Places { state, blocks };
                let mut block = vec![0; BLOCK];
                let mut reads = 0;
                while reads % 16 != 0 || Instant::now() < end {
                    let place = places.next();
                    file.seek(io::SeekFrom::Start(place)).await?;
                    file.read_exact(&mut block).await?;
                    check(&block, place)?;
                    reads += 1;
                }
                Ok::<u64, io::Error>(reads)
            })
        })
        .collect();
    let mut reads = 0;
    for task in tasks {
        reads += runtime.block_on(task)??;
    }
    Ok(reads)
}
