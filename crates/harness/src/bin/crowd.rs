//! What very many connections cost a server: see the module `crowd` of the library.

completion_port_harness::program!("crowd", crowd);
