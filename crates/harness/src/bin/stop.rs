//! SIGTERM under load: see the module `stop` of the library.

completion_port_harness::program!("stop", stop);
