//! Options of backup, restore and compaction: progress, file system, checksum policy.

use std::fmt;
use std::sync::Arc;

use crate::io::system::SystemVfs;
use crate::io::vfs::Vfs;

/// Whether a restore verifies the checksum of the backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumPolicy {
    /// The checksum file must exist beside the backup and match.
    #[default]
    Required,
    /// The checksum is not verified: for a backup whose checksum file is lost.
    Ignored,
}

/// Options of [`Snapshot::backup_with`](crate::Snapshot::backup_with),
/// [`restore_with`](crate::restore_with) and [`compact_with`](crate::compact_with).
///
/// ```
/// use convodb::{MaintenanceOptions, Store};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("backup.convodb");
/// let store = Store::in_memory()?;
/// let options = MaintenanceOptions::new().progress(|done, total| println!("{done} of {total}"));
/// store.snapshot().backup_with(&path, options)?;
/// # Ok::<(), convodb::Error>(())
/// ```
pub struct MaintenanceOptions<'a> {
    progress: Option<Box<dyn FnMut(u64, u64) + 'a>>,
    checksum: ChecksumPolicy,
    revoke_tokens: bool,
    vfs: Arc<dyn Vfs>,
}

impl Default for MaintenanceOptions<'_> {
    fn default() -> Self {
        Self {
            progress: None,
            checksum: ChecksumPolicy::default(),
            revoke_tokens: false,
            vfs: Arc::new(SystemVfs),
        }
    }
}

impl<'a> MaintenanceOptions<'a> {
    /// The default options: no progress, checksums required, the operating system's files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `progress` with the number of entries done and the approximate total.
    #[must_use]
    pub fn progress(self, progress: impl FnMut(u64, u64) + 'a) -> Self {
        Self { progress: Some(Box::new(progress)), ..self }
    }

    /// Whether a restore verifies the checksum of the backup. Default: it is required.
    #[must_use]
    pub fn checksum(self, checksum: ChecksumPolicy) -> Self {
        Self { checksum, ..self }
    }

    /// Revokes all access tokens in a restored store, before it appears: those that were valid at
    /// the time of the backup may have been revoked since. Default: they stay valid.
    #[must_use]
    pub fn revoke_tokens(self) -> Self {
        Self { revoke_tokens: true, ..self }
    }

    /// The file system of the files involved. Default: the operating system's.
    #[must_use]
    pub fn vfs(self, vfs: Arc<dyn Vfs>) -> Self {
        Self { vfs, ..self }
    }

    pub(crate) const fn checksum_policy(&self) -> ChecksumPolicy {
        self.checksum
    }

    pub(crate) const fn revokes_tokens(&self) -> bool {
        self.revoke_tokens
    }

    pub(crate) fn file_system(&self) -> Arc<dyn Vfs> {
        self.vfs.clone()
    }

    pub(crate) fn report(&mut self, done: u64, total: u64) {
        if let Some(progress) = &mut self.progress {
            progress(done, total);
        }
    }
}

impl fmt::Debug for MaintenanceOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaintenanceOptions")
            .field("checksum", &self.checksum)
            .finish_non_exhaustive()
    }
}
