#![cfg(target_os = "linux")]

#[path = "../util/mod.rs"]
mod util;
