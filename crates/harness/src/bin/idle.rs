//! What idle connections cost a server: see the module `idle` of the library.

completion_port_harness::program!("idle", idle);
