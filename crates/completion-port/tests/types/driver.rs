//! `DriverKind`, `Rung`, `DriverChoice`, `probe` and `COMPLETION_PORT_DRIVER`.

use std::{env, ffi::OsStr, io};

use crate::util::{
    child::alone_as,
    sys::{ladder, no_text},
};
use completion_port::{
    CompletionPort, DRIVER_VARIABLE, DriverKind, Rung, probe, simulated::Network,
};

/// All that have a name.
const NAMES: [(DriverKind, &str); 6] = [
    (DriverKind::IoUring(Rung::BufferRing), "io_uring:buffer-ring"),
    (DriverKind::IoUring(Rung::Coop), "io_uring:coop"),
    (DriverKind::IoUring(Rung::Basic), "io_uring:basic"),
    (DriverKind::Readiness, "readiness"),
    (DriverKind::Windows, "windows"),
    (DriverKind::WindowsUnlimited, "windows:unlimited"),
];

/// The one that is always there.
fn sure() -> DriverKind {
    *ladder().last().expect("every system has one")
}

#[test]
fn names_parse_and_print() {
    for (kind, name) in NAMES {
        assert_eq!(
            (kind.to_string().as_str(), name.parse::<DriverKind>().expect("a name")),
            (name, kind)
        );
    }
    assert_eq!("io_uring".parse::<DriverKind>().expect("a name"), NAMES[0].0);
    // In columns, for people.
    assert_eq!(format!("{:>12}|", DriverKind::Readiness), "   readiness|");
    for wrong in ["", "epol", "IO_URING", "io_uring:", "io_uring:best", " readiness", "simulated:1"]
    {
        let error = wrong.parse::<DriverKind>().expect_err("no such driver");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(
            text.contains(&format!("{wrong:?}"))
                && NAMES.iter().all(|(_, name)| text.contains(name)),
            "{text}"
        );
    }
}

#[test]
fn a_probe_tells_of_every_driver() {
    let probed = probe();
    assert!(probed.iter().map(|one| one.kind()).eq(ladder()), "the best first");
    let last = probed.last().expect("every system has one");
    assert!(last.available().is_ok(), "{last:?} is always there");
    for one in &probed {
        // It says what a port would say.
        let port = CompletionPort::builder().driver(one.kind()).build::<(), ()>();
        match (one.available(), port) {
            (Ok(()), Ok(port)) => assert_eq!(port.driver().kind(), one.kind()),
            (Err(why), Err(e)) => assert!(e.to_string().contains(why), "{e}"),
            (probed, port) => panic!("{probed:?}, and then {port:?}"),
        }
    }
}

/// Runs a test's body in a process with this value of the variable.
fn with_variable(test: &str, value: Option<&OsStr>, body: impl FnOnce()) {
    let run = |command: &mut std::process::Command| {
        match value {
            Some(value) => command.env(DRIVER_VARIABLE, value),
            None => command.env_remove(DRIVER_VARIABLE),
        };
        command.output()
    };
    alone_as(&format!("driver::{test}"), run, body);
}

#[test]
fn without_a_word_the_best_is_taken() {
    with_variable("without_a_word_the_best_is_taken", None, || {
        let port = CompletionPort::<(), ()>::new().expect("a port");
        let probed = probe();
        let best = probed.iter().position(|one| one.available().is_ok()).expect("there is one");
        assert_eq!(port.driver().kind(), probed[best].kind());
        let reason = port.driver().reason();
        match best {
            0 => assert!(reason.contains("first of the ladder"), "{reason}"),
            best => assert!(
                reason.contains(probed[best - 1].available().expect_err("refused")),
                "{reason}"
            ),
        }
        assert_eq!(port.driver().to_string(), format!("{} ({reason})", probed[best].kind()));
    });
}

#[test]
fn an_empty_variable_is_none() {
    with_variable("an_empty_variable_is_none", Some(OsStr::new("")), || {
        let port = CompletionPort::<(), ()>::new().expect("a port");
        assert!(!port.driver().reason().contains("forced"), "{}", port.driver());
    });
}

#[test]
fn the_variable_forces_and_the_builder_wins() {
    with_variable(
        "the_variable_forces_and_the_builder_wins",
        Some(OsStr::new(&sure().to_string())),
        || {
            let port = CompletionPort::<(), ()>::new().expect("a port");
            assert_eq!(
                port.driver().to_string(),
                format!("{} (forced by COMPLETION_PORT_DRIVER)", sure())
            );
            for one in probe().iter().filter(|one| one.available().is_ok()) {
                let port: CompletionPort<(), ()> =
                    CompletionPort::builder().driver(one.kind()).build().expect("it was probed");
                assert_eq!(
                    (port.driver().kind(), port.driver().reason()),
                    (one.kind(), "forced by the builder")
                );
            }
        },
    );
}

/// Also of the second rung, which nobody gets by chance.
#[test]
fn the_variable_forces_a_rung() {
    with_variable("the_variable_forces_a_rung", Some(OsStr::new("io_uring:coop")), || {
        let coop = DriverKind::IoUring(Rung::Coop);
        match CompletionPort::<(), ()>::new() {
            Ok(port) => assert_eq!(port.driver().kind(), coop),
            Err(e) => {
                let probed = probe();
                // Where no kernel has it, it is not probed for either.
                let why = probed
                    .iter()
                    .find(|one| one.kind() == coop)
                    .map_or("a part of Linux", |one| one.available().expect_err("refused"));
                assert!(
                    e.to_string().contains(why) && e.to_string().contains(DRIVER_VARIABLE),
                    "{e}"
                );
            }
        }
    });
}

#[test]
fn a_wrong_name_in_the_variable_is_an_error_that_helps() {
    with_variable(
        "a_wrong_name_in_the_variable_is_an_error_that_helps",
        Some(OsStr::new("uring")),
        || {
            let error = CompletionPort::<(), ()>::new().expect_err("no such driver");
            let text = error.to_string();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(
                text.contains(DRIVER_VARIABLE)
                    && text.contains("\"uring\"")
                    && text.contains("readiness"),
                "{text}"
            );
            // Who asks for one by the builder is not disturbed by it.
            CompletionPort::builder().driver(sure()).build::<(), ()>().expect("a port");
        },
    );
}

#[test]
fn a_variable_that_is_no_text_is_an_error() {
    with_variable("a_variable_that_is_no_text_is_an_error", Some(&no_text()), || {
        assert!(env::var_os(DRIVER_VARIABLE).is_some());
        let error = CompletionPort::<(), ()>::new().expect_err("not a name");
        assert!(error.to_string().contains(DRIVER_VARIABLE), "{error}");
    });
}

#[test]
fn a_simulated_driver_comes_with_its_network_only() {
    let error = CompletionPort::builder()
        .driver(DriverKind::Simulated(3))
        .build::<(), ()>()
        .expect_err("no network");
    assert!(
        error.kind() == io::ErrorKind::Unsupported && error.to_string().contains("network"),
        "{error}"
    );
    let port: CompletionPort<(), ()> = CompletionPort::builder()
        .driver(sure())
        .simulated(&Network::new(3))
        .build()
        .expect("a port");
    assert_eq!(
        (port.driver().kind(), port.driver().kind().to_string()),
        (DriverKind::Simulated(3), "simulated:3".to_owned())
    );
}
