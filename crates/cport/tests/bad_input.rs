//! What the command says when it is asked for what cannot be.

mod common;

use std::net::TcpListener;

use common::{assert_refused, cport, output, run, said, sys::DRIVER};

#[test]
fn wrong_arguments_get_one_line_and_code_2() {
    let cases: [(&[&str], &[&str]); 12] = [
        (&[], &["serve, client, bench or doctor"]),
        (&["dance"], &["dance"]),
        (&["serve", "nonsense"], &["nonsense", "127.0.0.1:9190"]),
        (&["serve", "127.0.0.1"], &["127.0.0.1:9190"]),
        (&["serve", "127.0.0.1:70000"], &["70000"]),
        (&["serve", "--workers", "0"], &["workers", "from 1 up"]),
        (&["serve", "--limit", "two"], &["limit", "two"]),
        (&["serve", "--driver", "steam"], &["steam", DRIVER]),
        (&["serve", "--grace", "never"], &["grace", "never"]),
        (&["serve", "--max-connections", "0"], &["max-connections"]),
        (&["client", "256.1.1.1:80"], &["256.1.1.1:80"]),
        (&["doctor", "--cure"], &["--cure"]),
    ];
    for (args, words) in cases {
        let output = run(args);
        assert_refused(&output, 2, words);
        assert_eq!(said(&output).1, "", "nothing on standard output");
    }
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    assert_refused(&run(&["serve", &address]), 1, &[&address, "program that has", "port 0"]);
    // A good address beside it does not help.
    assert_refused(
        &run(&["serve", "127.0.0.1:0", "--listen", &address]),
        1,
        &[&address, "program that has"],
    );
}

#[test]
fn an_address_of_another_machine_is_told() {
    // 192.0.2.0/24 is for documentation and belongs to nobody.
    assert_refused(&run(&["serve", "192.0.2.1:9190"]), 1, &["192.0.2.1:9190", "this machine"]);
}

#[cfg(target_os = "linux")] // where low ports are for few
#[test]
fn no_permission_for_the_port_is_told() {
    let first_free: u16 = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024);
    if first_free < 2 {
        return println!("every port is free to take here: nothing to test");
    }
    // Root may: then the server is started as somebody else, from a copy that everybody may run. The shell makes the copy: a file
    // that this process had open to write could not be run while another test's child still has it open too.
    let output = if rustix::process::geteuid().is_root() {
        let copy = Removed(std::env::temp_dir().join(format!("cport-{}", std::process::id())));
        let script = "command -v setpriv >/dev/null || exit 127; install -m 755 \"$0\" \"$1\" || exit 127; \
            exec setpriv --reuid 65534 --clear-groups --bounding-set -all \"$1\" serve 127.0.0.1:1";
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", script, env!("CARGO_BIN_EXE_cport")]).arg(&copy.0);
        sh.output().expect("sh runs")
    } else {
        run(&["serve", "127.0.0.1:1"])
    };
    if output.status.code() == Some(127) {
        return println!("there is no setpriv here, or no place for a copy: nothing to test");
    }
    assert_refused(&output, 1, &["127.0.0.1:1", "ermission", "1023"]);
}

/// A file that is removed again.
#[cfg(target_os = "linux")]
struct Removed(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_driver_that_is_not_there_is_told() {
    let output = output(cport(&["serve", "127.0.0.1:0"]).env("COMPLETION_PORT_DRIVER", "steam"));
    assert_refused(&output, 1, &["steam", "cport doctor"]);
}

#[test]
fn a_level_that_is_not_there_is_told() {
    let output = output(cport(&["doctor"]).env("COMPLETION_PORT_LOG", "shouting"));
    assert_refused(&output, 2, &["COMPLETION_PORT_LOG", "shouting", "debug"]);
}

#[test]
fn help_and_version_are_no_errors() {
    for (args, words) in [
        (
            &["--help"] as &[&str],
            &["serve", "client", "bench", "doctor", "COMPLETION_PORT_DRIVER"] as &[&str],
        ),
        (&["serve", "--help"], &["--workers", "--grace", "--max-connections", "unsent", "open=N"]),
        (&["client", "--help"], &["filter"]),
        (
            &["bench", "--help"],
            &["--rate", "--churn", "--server-pid", "--report", "Open loop", "Exit codes"],
        ),
        (&["--version"], &[env!("CARGO_PKG_VERSION")]),
    ] {
        let (code, stdout, stderr) = said(&run(args));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        for word in words {
            assert!(stdout.contains(word), "{word} is not in {stdout}");
        }
    }
}
