//! Runs a command to which io_uring is denied: see the module `deny` of the library.

completion_port_harness::program!("deny-io-uring", deny);
