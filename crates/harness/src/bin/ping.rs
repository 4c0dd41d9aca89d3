//! A closed loop of messages, timed: see the module `ping` of the library.

completion_port_harness::program!("ping", ping);
