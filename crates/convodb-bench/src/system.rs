//! What the operating system reports of this process and evicts for it; only Linux does both.

use std::fs::File;
use std::io;
use std::path::Path;

/// Evicts a file from the system's page cache. Pages that were not written to disk yet stay, and so
/// do those of a file system in memory. Returns whether the system was asked to.
///
/// # Errors
/// The system's error.
pub fn evict(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    #[cfg(target_os = "linux")]
    {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(true)
    }
    #[cfg(not(target_os = "linux"))]
    {
        drop(file);
        Ok(false)
    }
}

/// The bytes that this process has read from disks so far; `None` if the system does not report it.
#[must_use]
pub fn disk_bytes_read() -> Option<u64> {
    field("/proc/self/io", "read_bytes:")
}

/// The resident memory of this process in bytes; `None` if the system does not report it.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    Some(field("/proc/self/status", "VmRSS:")? << 10)
}

/// The most resident memory that this process had so far, in bytes; `None` if the system does not
/// report it.
#[must_use]
pub fn peak_resident_bytes() -> Option<u64> {
    Some(field("/proc/self/status", "VmHWM:")? << 10)
}

/// The number behind a name in a file of `/proc`.
fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_and_reads_are_reported_on_linux() {
        let resident = resident_bytes().expect("VmRSS");
        assert!(resident > 1 << 20 && peak_resident_bytes().expect("VmHWM") >= resident);
        assert!(disk_bytes_read().is_some());
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        assert!(evict(file.path()).expect("fadvise"));
        assert!(evict(Path::new("/nowhere/at/all")).is_err());
    }
}
