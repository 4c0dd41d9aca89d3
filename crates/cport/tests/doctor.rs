//! `cport doctor`.

mod common;

use common::{cport, output, run, said, sys::DRIVER};
use serde_json::Value;

#[test]
fn in_words() {
    let (code, stdout, stderr) = said(&run(&["doctor"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for word in ["system", "CPUs", "driver", DRIVER, "blocked worker", "what to do"] {
        assert!(stdout.contains(word), "{word} is not in {stdout}");
    }
    println!("{stdout}");
}

#[test]
fn as_json() {
    let (code, stdout, stderr) = said(&run(&["doctor", "--json"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let json: Value = serde_json::from_str(&stdout).expect("one JSON object");
    let drivers = json["drivers"].as_array().expect("a list");
    assert!(
        drivers
            .iter()
            .any(|driver| driver["name"] == json["driver"]["name"] && driver["available"] == true)
    );
    for driver in drivers {
        // Each is available, or there is a reason why not.
        assert_eq!(driver["available"] == true, driver["reason"].is_null(), "{driver}");
    }
    assert!(json["driver"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
}

#[test]
fn a_forced_driver_is_the_one_that_runs() {
    let output = output(cport(&["doctor", "--json"]).env("COMPLETION_PORT_DRIVER", DRIVER));
    let json: Value = serde_json::from_str(&said(&output).1).expect("one JSON object");
    assert_eq!(json["driver"]["name"], DRIVER);
    assert!(
        json["driver"]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("COMPLETION_PORT_DRIVER")),
        "{json}"
    );
}

#[test]
fn no_driver_is_a_failure() {
    let output = output(cport(&["doctor"]).env("COMPLETION_PORT_DRIVER", "steam"));
    let (code, stdout, stderr) = said(&output);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("none: ")
            && stderr.starts_with("cport: no completion port can be opened: "),
        "{stdout}{stderr}"
    );
}
