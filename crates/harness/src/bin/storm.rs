//! Many connections at once, every byte checked at its position: see the module `storm` of the library.

completion_port_harness::program!("storm", storm);
