//! Datagrams of every size, each accounted for: see the module `datagrams` of the library.

completion_port_harness::program!("datagrams", datagrams);
