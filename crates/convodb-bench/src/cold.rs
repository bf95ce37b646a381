//! Cold pages: the first page after the store was opened, with nothing of its file in memory.
//!
//! For each page the store is closed, its file is evicted from the system's page cache (on Linux),
//! and the store is opened again for reading only. What remains is the disk's own cache. The bytes
//! that were read from the disk show whether the eviction worked: a file system in memory, for
//! instance, keeps its pages.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use convodb::{PageSize, Store, StoreOptions};

use crate::engine::{Convodb, Engine, PageQuery, Place};
use crate::latency::Latencies;
use crate::pages::MeasuredList;
use crate::starts::scattered;
use crate::system::{disk_bytes_read, evict};

/// The latencies of cold pages of one list.
pub struct ColdTimes {
    /// Opening the store.
    pub open: Latencies,
    /// The first page of the list after opening.
    pub page: Latencies,
    /// Bytes read from the disk for opening and one page, on average; `None` if the system does not
    /// report it.
    pub disk_bytes: Option<u64>,
    /// Whether the system was asked to evict the file.
    pub evicted: bool,
}

/// Reads `samples` pages all over a list, each with the store opened anew.
///
/// # Errors
/// An error of the store or of the system.
pub fn measure(
    path: &Path,
    list: &MeasuredList,
    page_size: PageSize,
    samples: usize,
    mut progress: impl FnMut(),
) -> Result<ColdTimes> {
    let (mut open, mut page) = (Latencies::new()?, Latencies::new()?);
    let starts = &list.places.spread;
    let mut order = scattered(starts.len()).cycle();
    let (mut disk_bytes, mut evicted) = (Some(0), false);
    for _ in 0..samples {
        evicted = evict(path)?;
        let before = disk_bytes_read();
        let place = order.next().map_or(Place::First, |at| Place::After(&starts[at]));
        let query = PageQuery { user: list.user, list: &list.list, place, page_size };
        let began = Instant::now();
        let store = Store::open_with(path, &StoreOptions::new().read_only(true))?;
        open.record(began.elapsed())?;
        let began = Instant::now();
        Convodb::new(store.clone()).visit(&query)?;
        page.record(began.elapsed())?;
        let read = disk_bytes_read().zip(before).map(|(after, before)| after - before);
        disk_bytes = disk_bytes.zip(read).map(|(sum, read)| sum + read);
        store.close()?;
        progress();
    }
    let disk_bytes = disk_bytes.map(|sum| sum / samples.max(1) as u64);
    Ok(ColdTimes { open, page, disk_bytes, evicted })
}
