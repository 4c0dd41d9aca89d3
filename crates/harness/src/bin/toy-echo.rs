//! An echo server with faults to order, to test the other programs on: see the module `toy` of the library.

completion_port_harness::program!("toy-echo", toy);
