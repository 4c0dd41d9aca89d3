//! Whether the system has a processor to spare.

use std::sync::OnceLock;
#[cfg(target_os = "linux")]
use std::{fs::File, io::Read};

/// Whether a thread that is woken now finds a processor that nobody else wants. True where that cannot be told.
pub(crate) fn has_spare_processor() -> bool {
    // Who asks runs itself.
    runnable().is_none_or(|runnable| runnable.saturating_sub(1) < processors())
}

/// All that are online, as all of the system's threads are counted. Asked once: to ask is to open, read and close another file.
fn processors() -> usize {
    static ONLINE: OnceLock<usize> = OnceLock::new();
    *ONLINE.get_or_init(|| {
        // SAFETY: a number is asked for.
        let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(online).unwrap_or(usize::MAX)
    })
}

/// How many threads of the system run, or could: the first number of the fourth field of `/proc/loadavg` (proc(5)).
#[cfg(target_os = "linux")]
fn runnable() -> Option<usize> {
    let mut text = [0; 128];
    let length = File::open("/proc/loadavg").and_then(|mut file| file.read(&mut text)).ok()?;
    parse(&text[..length])
}

#[cfg(not(target_os = "linux"))]
fn runnable() -> Option<usize> {
    None
}

#[cfg(target_os = "linux")]
fn parse(text: &[u8]) -> Option<usize> {
    str::from_utf8(text).ok()?.split(' ').nth(3)?.split('/').next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux", not(completion_port_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood() {
        assert_eq!(parse(b"0.20 0.18 0.12 3/80 11206\n"), Some(3));
        for text in
            [&b""[..], b"0.20 0.18 0.12", b"0.20 0.18 0.12 x/80 11206", b"\xff \xff \xff \xff"]
        {
            assert_eq!(parse(text), None);
        }
    }

    #[test]
    fn who_asks_runs() {
        assert!(runnable().is_none_or(|runnable| runnable >= 1));
        assert!(processors() >= 1);
    }
}
