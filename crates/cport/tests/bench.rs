//! `cport bench`.

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use common::{
    Killed, Server, Signal, assert_refused, cport, output_of, reset_at_close, run, said,
    sys::{self, DRIVER, TOO_MANY},
};
use serde_json::Value;

/// Runs it for a short while, with these words behind the address.
fn bench(address: SocketAddr, words: &str) -> Output {
    let address = address.to_string();
    let mut args = vec!["bench", &address, "--quiet", "--warm-up", "0.05", "--duration", "0.3"];
    args.extend(words.split_whitespace());
    // The last of two is not taken, so what a test asks for replaces these.
    for option in ["--warm-up", "--duration"] {
        if words.contains(option) {
            let at = args.iter().position(|word| *word == option).expect("it is there");
            args.drain(at..at + 2);
        }
    }
    run(&args)
}

/// The JSON of a run that must have ended with that code.
fn json(output: &Output, code: i32) -> Value {
    let (exit, stdout, stderr) = said(output);
    assert_eq!(exit, Some(code), "{stdout}{stderr}");
    assert_eq!(stderr, "", "{stdout}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// Runs it and reads the JSON.
fn measure(address: SocketAddr, words: &str, code: i32) -> Value {
    json(&bench(address, &format!("--json {words}")), code)
}

/// A number in it.
fn number(json: &Value, path: &str) -> f64 {
    json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {json}"))
}

/// A server for one test: `serve` is called with each connection, on a thread of its own.
fn toy(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.expect("a client"), Arc::clone(&serve));
            stream.set_nodelay(true).expect("no delay");
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Echoes what comes, after `change` has had it; until the client ends, or `change` says so.
fn echo(mut stream: TcpStream, mut change: impl FnMut(&mut Vec<u8>) -> bool) {
    let mut room = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut room) {
        let mut bytes = room[..count].to_vec();
        if !change(&mut bytes) || stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

#[test]
fn a_closed_loop_measures_and_loses_nothing() {
    let server = Server::start(&[]);
    let json = measure(server.addresses[0], "--connections 5 --threads 2 --size 1000", 0);
    assert!(number(&json, "/messages") > 20.0, "{json}");
    assert_eq!(number(&json, "/bytes"), number(&json, "/messages") * 1000.0);
    assert_eq!(number(&json, "/errors/total"), 0.0);
    let figures = ["min", "p50", "p90", "p99", "p99_9", "max"]
        .map(|name| number(&json, &format!("/latency_us/{name}")));
    assert!(figures.is_sorted() && figures[0] > 0.0, "{figures:?}");
    for (path, value) in
        [("/setup/connections", 5.0), ("/setup/threads", 2.0), ("/setup/size", 1000.0)]
    {
        assert_eq!(number(&json, path), value, "{path}");
    }
    assert_eq!(
        (&json["format"], &json["setup"]["loop"]),
        (&"cport-bench-1".into(), &"closed".into())
    );
    assert!(json["percentiles"].as_array().is_some_and(|points| points.len() > 20), "{json}");
    assert!(json["timeline"].as_array().is_some_and(|points| points.len() >= 2), "{json}");
    assert!(json["server"].is_null() && json["interrupted"] == false);
    // The server has seen the same connections, and one that asked whether it is there.
    let (code, numbers) = server.stop();
    assert_eq!((code, numbers["accepted"]), (Some(0), 6));
}

#[test]
fn a_pipeline_and_odd_and_large_messages_come_back() {
    let server = Server::start(&[]);
    for words in [
        "--pipeline 16 --size 7",
        // Megabytes for a debug build, on a machine that may be busy: it gets longer.
        "--pipeline 3 --size 100001 --connections 4 --duration 1",
        "--size 1 --connections 1",
    ] {
        let json = measure(server.addresses[0], words, 0);
        assert!(number(&json, "/messages") > 3.0, "{words}: {json}");
    }
}

#[test]
fn a_table_is_printed_for_people() {
    let server = Server::start(&[]);
    let (code, stdout, stderr) = said(&bench(server.addresses[0], "--connections 2"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for word in [
        "closed loop",
        "2 connections",
        "messages/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "errors",
    ] {
        assert!(stdout.contains(word), "{word} is not in {stdout}");
    }
}

#[test]
fn progress_is_said_unless_it_is_not_wanted() {
    let server = Server::start(&[]);
    let address = server.addresses[0].to_string();
    let (_, _, stderr) = said(&run(&["bench", &address, "--warm-up", "0.05", "--duration", "0.3"]));
    for word in ["64 connections", "warming up", "messages/s", "0 errors"] {
        assert!(stderr.contains(word), "{word} is not in {stderr}");
    }
    assert!(!stderr.contains('\r'), "{stderr:?}");
}

#[cfg(any(target_os = "linux", windows))] // what the command knows to ask
#[test]
fn what_the_server_takes_is_told() {
    let server = Server::start(&[]);
    let pid = server.pid().to_string();
    let json = measure(server.addresses[0], &format!("--server-pid {pid}"), 0);
    assert!(number(&json, "/server/cpu_us_per_message") > 0.0, "{json}");
    assert!(number(&json, "/server/rss_kib") > 100.0, "{json}");
    assert_eq!(json["server"]["pid"].to_string(), pid);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let server = Server::start(&[]);
    let json = measure(server.addresses[0], "--rate 500 --connections 10 --warm-up 0", 0);
    // All that were due were sent and came back, however busy the machine was: 150 of them in 0.3 s.
    assert_eq!(
        (number(&json, "/latency_us/count"), number(&json, "/unsent")),
        (150.0, 0.0),
        "{json}"
    );
    assert_eq!(json["setup"]["loop"], "open");
}

/// A server that stalls once, for half a second, and all its connections with it. It begins when `when` messages have come.
fn stalling(when: usize) -> SocketAddr {
    let (messages, stall) = (AtomicUsize::new(0), std::sync::Mutex::new(()));
    toy(move |stream| {
        echo(stream, |_| {
            let held = stall.lock().expect("nobody panics");
            if messages.fetch_add(1, SeqCst) == when {
                thread::sleep(Duration::from_millis(500));
            }
            drop(held);
            true
        });
    })
}

#[test]
fn an_open_loop_does_not_hide_a_stall() {
    // One connection, which waits for each echo: only one message of 1,000 meets the stall itself. But some 500 are due meanwhile.
    let json = measure(stalling(100), "--rate 1000 --connections 1 --warm-up 0 --duration 1", 0);
    assert_eq!(number(&json, "/latency_us/count"), 1000.0, "{json}");
    assert!(number(&json, "/latency_us/p99") > 400_000.0, "{json}");
    assert!(number(&json, "/latency_us/max") >= 500_000.0, "{json}");
}

#[test]
fn what_cannot_be_sent_is_not_hidden_either() {
    // Ten messages a second come back from a server that takes 100 ms for each. A hundred are due.
    let slow = toy(|stream| {
        echo(stream, |_| {
            thread::sleep(Duration::from_millis(100));
            true
        });
    });
    let json =
        measure(slow, "--rate 200 --connections 1 --warm-up 0 --duration 0.5 --timeout 2", 0);
    let unsent = number(&json, "/unsent");
    assert!(unsent > 50.0, "{json}");
    assert_eq!(number(&json, "/latency_us/count"), 100.0, "{json}");
    assert!(number(&json, "/latency_us/p99") > 400_000.0, "{json}");
}

#[test]
fn churn_makes_a_connection_for_each_message() {
    let server = Server::start(&[]);
    let json = measure(server.addresses[0], "--churn --connections 4", 0);
    let messages = number(&json, "/messages");
    assert!(messages > 4.0, "more than connections at a time: {json}");
    let (_, numbers) = server.stop();
    assert!(numbers["accepted"] as f64 >= messages, "{numbers:?}");
    // Each has brought one message, but for the one that asked whether anybody is there.
    assert_eq!(numbers["read"], (numbers["accepted"] - 1) * 64, "{numbers:?}");
    assert_eq!(numbers["reset"], 0, "{numbers:?}");
}

#[test]
fn an_open_loop_of_churn_counts_from_when_it_was_due() {
    let server = Server::start(&[]);
    let json = measure(server.addresses[0], "--churn --rate 100 --connections 4 --warm-up 0", 0);
    assert_eq!(
        (number(&json, "/latency_us/count"), number(&json, "/unsent")),
        (30.0, 0.0),
        "{json}"
    );
}

/// An echo server for datagrams; `change` says how often one is echoed, and may change it.
fn toy_udp(change: impl Fn(&mut Vec<u8>, usize) -> usize + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("its address");
    thread::spawn(move || {
        let mut room = [0; 65_536];
        for n in 0.. {
            // A client that has gone is an error of the next receive.
            let Ok((count, from)) = socket.recv_from(&mut room) else { continue };
            let mut bytes = room[..count].to_vec();
            for _ in 0..change(&mut bytes, n) {
                let _ = socket.send_to(&bytes, from);
            }
        }
    });
    address
}

#[test]
fn datagrams_come_back_in_both_loops() {
    let server = toy_udp(|_, _| 1);
    let json = measure(server, "--udp --connections 4 --threads 2 --pipeline 2 --size 100", 0);
    assert!(number(&json, "/messages") > 20.0, "{json}");
    assert_eq!((&json["setup"]["protocol"], number(&json, "/errors/total")), (&"udp".into(), 0.0));
    let json = measure(server, "--udp --rate 200 --connections 4 --warm-up 0", 0);
    assert_eq!(
        (number(&json, "/latency_us/count"), number(&json, "/unsent")),
        (60.0, 0.0),
        "{json}"
    );
}

/// Both by the library, on each of the drivers.
#[test]
fn datagrams_go_to_a_server_of_ours() {
    for driver in [DRIVER, "auto"] {
        let server = Server::start(&["--udp", "--driver", driver]);
        let options = format!("--udp --driver {driver} --connections 8 --pipeline 4 --size 1000");
        let json = measure(server.addresses[0], &options, 0);
        assert!(number(&json, "/messages") > 20.0, "{json}");
        assert_eq!(number(&json, "/errors/total"), 0.0, "{json}");
        let name = json["setup"]["driver"].as_str().unwrap_or_default();
        assert!(driver == "auto" || name == driver, "{json}");
        let (code, counts) = server.stop();
        assert_eq!((code, counts["failed"]), (Some(0), 0), "{counts:?}");
        assert_eq!(counts["received"], counts["echoed"], "{counts:?}");
    }
}

#[test]
fn lost_repeated_and_wrong_datagrams_are_counted() {
    // The first answers whether anybody is there.
    let losing = toy_udp(|_, n| usize::from(n != 10));
    let json = measure(losing, "--udp --connections 1 --timeout 2", 1);
    assert_eq!(
        (number(&json, "/errors/timeout"), number(&json, "/errors/total")),
        (1.0, 1.0),
        "{json}"
    );
    let repeating = toy_udp(|_, n| if n == 10 { 2 } else { 1 });
    let json = measure(repeating, "--udp --connections 1", 1);
    assert_eq!(
        (number(&json, "/errors/unexpected"), number(&json, "/errors/total")),
        (1.0, 1.0),
        "{json}"
    );
    let lying = toy_udp(|bytes, n| {
        if n == 10 {
            bytes[63] ^= 1;
        }
        1
    });
    let json = measure(lying, "--udp --connections 1 --timeout 2", 1);
    // What was sent instead of it is missing.
    assert_eq!(
        (number(&json, "/errors/wrong_bytes"), number(&json, "/errors/timeout")),
        (1.0, 1.0),
        "{json}"
    );
}

#[test]
fn wrong_bytes_are_counted_and_the_run_fails() {
    let told = AtomicBool::new(false);
    let lying = toy(move |stream| {
        let mut messages = 0;
        echo(stream, |bytes| {
            messages += 1;
            if messages == 5 && !told.swap(true, SeqCst) {
                bytes[17] ^= 0x40;
            }
            true
        });
    });
    let json = measure(lying, "--connections 2", 1);
    assert_eq!(
        (number(&json, "/errors/wrong_bytes"), number(&json, "/errors/total")),
        (1.0, 1.0),
        "{json}"
    );
    // It is byte 17 of the fifth message.
    let first = json["errors"]["first"].as_str().expect("words");
    assert!(first.contains(&format!("byte {}", 4 * 64 + 17)), "{first}");
    assert!(number(&json, "/messages") > 10.0, "the others went on: {json}");
}

#[test]
fn swapped_lost_and_surplus_bytes_are_found() {
    type Fault = fn(&mut Vec<u8>);
    let faults: [(&str, Fault); 4] = [
        ("wrong_bytes", |bytes| bytes.swap(3, 40)),
        ("wrong_bytes", |bytes| bytes.copy_within(21.., 20)),
        ("wrong_bytes", |bytes| _ = bytes.remove(20)),
        ("unexpected", |bytes| bytes.push(0)),
    ];
    for (kind, fault) in faults {
        let done = AtomicBool::new(false);
        let lying = toy(move |stream| {
            let mut messages = 0;
            echo(stream, |bytes| {
                messages += 1;
                if messages == 3 && !done.swap(true, SeqCst) {
                    fault(bytes);
                }
                true
            });
        });
        // With two on their way, what was lost shows in the next.
        let json = measure(lying, "--connections 1 --pipeline 2", 1);
        assert_eq!(
            (number(&json, &format!("/errors/{kind}")), number(&json, "/errors/total")),
            (1.0, 1.0),
            "{json}"
        );
    }
}

#[test]
fn connections_that_end_are_counted_by_kind_and_made_again() {
    let closing = AtomicBool::new(false);
    let closed = toy(move |stream| {
        let mut messages = 0;
        echo(stream, |_| {
            messages += 1;
            messages < 5 || closing.swap(true, SeqCst)
        });
    });
    let json = measure(closed, "--connections 1 --duration 0.5", 1);
    assert_eq!(
        (number(&json, "/errors/closed"), number(&json, "/errors/total")),
        (1.0, 1.0),
        "{json}"
    );
    assert!(number(&json, "/messages") > 5.0, "{json}");

    let silent = toy(|stream| {
        echo(stream, |bytes| {
            bytes.clear();
            true
        })
    });
    let json = measure(silent, "--connections 2 --timeout 0.1", 1);
    assert!(number(&json, "/errors/timeout") >= 2.0, "{json}");
    assert_eq!(
        (number(&json, "/messages"), number(&json, "/latency_us/count")),
        (0.0, 0.0),
        "{json}"
    );

    if !sys::has_resets() {
        return println!("there are no resets here: that part is left out");
    }
    let resetting = AtomicBool::new(false);
    let reset = toy(move |stream| {
        let copy = stream.try_clone().expect("a copy");
        echo(stream, |_| {
            if !resetting.swap(true, SeqCst) {
                reset_at_close(&copy);
                return false;
            }
            true
        });
    });
    let json = measure(reset, "--connections 1 --duration 0.5", 1);
    assert_eq!(
        (number(&json, "/errors/reset"), number(&json, "/errors/total")),
        (1.0, 1.0),
        "{json}"
    );
}

#[test]
fn a_server_that_goes_away_is_told() {
    let server = Server::start(&["--grace", "0"]);
    let address = server.addresses[0].to_string();
    let mut child = Killed(
        cport(&["bench", &address, "--json", "--duration", "60", "--warm-up", "0"])
            .spawn()
            .expect("it starts"),
    );
    let mut stderr = BufReader::new(child.0.stderr.take().expect("its errors"));
    wait_for(&mut stderr, " 0 errors");
    server.stop();
    // It goes on and tries again, which is refused.
    wait_for_other(&mut stderr, " 0 errors");
    sys::signal(&child.0, Signal::Stop);
    let mut stdout = String::new();
    child.0.stdout.take().expect("its output").read_to_string(&mut stdout).expect("text");
    assert_eq!(child.wait().code(), Some(1));
    let json: Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(
        number(&json, "/errors/refused")
            + number(&json, "/errors/closed")
            + number(&json, "/errors/reset")
            > 0.0,
        "{json}"
    );
}

/// Reads lines until one ends in `end`.
fn wait_for(lines: &mut impl BufRead, end: &str) {
    assert!(
        lines.lines().any(|line| line.expect("text").ends_with(end)),
        "there is no line that ends in {end:?}"
    );
}

/// Reads lines until one ends otherwise.
fn wait_for_other(lines: &mut impl BufRead, end: &str) {
    assert!(
        lines.lines().any(|line| !line.expect("text").ends_with(end)),
        "all lines end in {end:?}"
    );
}

#[test]
fn an_interrupted_run_prints_what_it_has() {
    let server = Server::start(&[]);
    let address = server.addresses[0].to_string();
    // In the warm-up too, when there is nothing yet.
    let args = ["bench", &address, "--duration", "600", "--warm-up", "600"];
    let mut child = cport(&args).spawn().expect("it starts");
    wait_for(&mut BufReader::new(child.stderr.take().expect("its errors")), "600 s");
    sys::signal(&child, Signal::Interrupt);
    let (code, stdout, _) = said(&output_of(child));
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("none") && stdout.contains("interrupted after 0.0 s"), "{stdout}");
    for signal in [Signal::Interrupt, Signal::Stop] {
        let mut child = cport(&["bench", &address, "--duration", "600", "--warm-up", "0"])
            .spawn()
            .expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its errors"));
        wait_for(&mut stderr, "0 errors");
        sys::signal(&child, signal);
        let (code, stdout, _) = said(&output_of(child));
        assert_eq!(code, Some(0), "{stdout}");
        assert!(stdout.contains("interrupted after ") && stdout.contains(" of 600 s"), "{stdout}");
        assert!(!stdout.contains("none"), "there is something: {stdout}");
    }
}

/// A file that is removed again.
struct Removed(PathBuf);

impl Removed {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("cport-bench-{}-{name}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a name that is text")
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a self-contained page has and has not.
fn assert_self_contained(page: &str) {
    for word in [
        "<!DOCTYPE html>",
        "viewport",
        "prefers-color-scheme: dark",
        "<svg",
        "</html>",
        "<th scope=\"row\"",
    ] {
        assert!(page.contains(word), "{word} is not in {page}");
    }
    for word in
        ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "NaN", "inf "]
    {
        assert!(!page.contains(word), "{word} is in the page");
    }
}

#[test]
fn a_report_compares_runs_and_needs_nothing_else() {
    let server = Server::start(&[]);
    let address = server.addresses[0];
    let (page, earlier) = (Removed::new("page.html"), Removed::new("earlier.json"));
    let first = bench(address, "--json --connections 3 --label <script>alert('x')</script>&amp;");
    json(&first, 0);
    std::fs::write(&earlier.0, &first.stdout).expect("written");

    // Beside a run of now, and then without one.
    let words = format!("--label now --report {} --compare {}", page.path(), earlier.path());
    let (code, stdout, stderr) = said(&bench(address, &words));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let text = std::fs::read_to_string(&page.0).expect("a page");
    assert_self_contained(&text);
    assert!(text.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;"), "{text}");
    assert_eq!(
        text.matches("<path class=\"line c0 d0\"").count(),
        3,
        "in both charts and in the legend"
    );
    assert_eq!(text.matches("<path class=\"line c1 d1\"").count(), 3);

    let (code, stdout, stderr) = said(&run(&[
        "bench",
        "--report",
        page.path(),
        "--compare",
        earlier.path(),
        earlier.path(),
    ]));
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
    let text = std::fs::read_to_string(&page.0).expect("a page");
    assert_self_contained(&text);
    assert!(text.contains("line c1 d1") && !text.contains("line c2 d2"), "{text}");
}

#[test]
fn a_run_that_measured_nothing_still_has_a_page() {
    let silent = toy(|stream| {
        echo(stream, |bytes| {
            bytes.clear();
            true
        })
    });
    let page = Removed::new("nothing.html");
    let output = bench(silent, &format!("--json --timeout 0.1 --report {}", page.path()));
    json(&output, 1);
    assert_self_contained(&std::fs::read_to_string(&page.0).expect("a page"));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_measured() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("its address")
        .to_string();
    let there = toy(|stream| drop(stream.shutdown(Shutdown::Both)));
    let there = there.to_string();
    let strange = Removed::new("strange.json");
    std::fs::write(&strange.0, "{\"format\": 3}").expect("written");
    let cases: [(&[&str], &[&str]); 19] = [
        (&[&nobody], &[&nobody, "nobody listens", "cport serve"]),
        (&[&nobody, "--udp"], &[&nobody, "nobody listens"]),
        (&["nonsense"], &["nonsense", "127.0.0.1:9190"]),
        (&[&there, "--rate", "0"], &["rate", "above 0"]),
        (&[&there, "--rate", "NaN"], &["rate", "above 0"]),
        (&[&there, "--size", "0"], &["size", "from 1 up"]),
        (&[&there, "--size", "99999999999"], &["--size", "at most"]),
        (&[&there, "--udp", "--size", "7"], &["--size 7", "8 to 65507"]),
        (&[&there, "--pipeline", "1000000"], &["--pipeline", "at most"]),
        (&[&there, "--connections", "0"], &["connections", "from 1 up"]),
        (&[&there, "--connections", "99999999999"], TOO_MANY),
        (&[&there, "--pipeline", "60000", "--size", "60000000"], &["--pipeline", "on their way"]),
        (&[&there, "--threads", "0"], &["threads"]),
        (&[&there, "--duration", "0"], &["duration", "0.001"]),
        (&[&there, "--churn", "--udp"], &["--churn", "--udp"]),
        (&[&there, "--server-pid", "999999999"], &["--server-pid 999999999"]),
        (&[&there, "--compare", "a.json"], &["--report"]),
        (&["--report", "x.html", "--compare", "/does/not/exist.json"], &["/does/not/exist.json"]),
        (
            &["--report", "x.html", "--compare", strange.path()],
            &[strange.path(), "cport bench --json"],
        ),
    ];
    for (args, words) in cases {
        let args: Vec<_> = ["bench"].iter().chain(args).copied().collect();
        let output = run(&args);
        assert_refused(&output, 2, words);
        assert_eq!(said(&output).1, "", "nothing on standard output: {args:?}");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_a_failure() {
    let server = Server::start(&[]);
    let (code, stdout, stderr) =
        said(&bench(server.addresses[0], "--report /does/not/exist/x.html"));
    assert_eq!(code, Some(1), "{stderr}");
    // What was measured is not lost.
    assert!(
        stdout.contains("messages/s") && stderr.contains("/does/not/exist/x.html"),
        "{stdout}{stderr}"
    );
}
