//! Files of a test's own, which nobody finds and nothing leaves behind.

use std::{
    env,
    fs::{self, File, OpenOptions},
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use completion_port::{CompletionPort, Handle};

/// A path that no other test uses.
pub fn path() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("completion-port-test-{}-{number}", process::id()))
}

/// An open file with this in it, and no name any more.
pub fn file(content: &[u8]) -> File {
    opened(content, OpenOptions::new().read(true).write(true))
}

/// The same, opened otherwise.
pub fn opened(content: &[u8], how: &OpenOptions) -> File {
    let path = path();
    fs::write(&path, content).expect("a file can be made");
    let file = how.open(&path).expect("it can be opened");
    super::sys::unname(&path);
    file
}

/// What is in it.
pub fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().expect("an open file").len() as usize];
    let mut read = 0;
    while read < bytes.len() {
        let more =
            super::sys::read_at(file, &mut bytes[read..], read as u64).expect("it can be read");
        assert_ne!(more, 0, "it is as long as it says");
        read += more;
    }
    bytes
}

/// An associated file with this in it, and the same file to look into.
pub fn associated<K: Send + Sync + 'static, T: Send + 'static>(
    port: &CompletionPort<K, T>,
    key: K,
    bytes: &[u8],
) -> (Handle<K, T>, File) {
    let file = file(bytes);
    let same = file.try_clone().expect("a duplicate");
    (port.associate(file, key).expect("associated"), same)
}
