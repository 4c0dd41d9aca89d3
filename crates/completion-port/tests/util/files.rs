//! Files of a test's own, which nobody finds and nothing leaves behind.

use std::{
    env,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
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
    fs::remove_file(&path).expect("it can be removed");
    file
}

/// What is in it.
pub fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().expect("an open file").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("all of it");
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
