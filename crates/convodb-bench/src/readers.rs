//! Reader threads: pages all over the lists of users, read by several threads at once.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use convodb::{PageSize, Store};

use crate::engine::{Convodb, Engine, PageQuery, Place};
use crate::latency::Latencies;
use crate::pages::MeasuredList;
use crate::starts::scattered;

/// What a number of threads read.
pub struct ReaderTimes {
    /// The number of threads.
    pub threads: usize,
    /// Pages of all threads in a second.
    pub pages_per_second: f64,
    /// The durations of all pages.
    pub latencies: Latencies,
}

/// Reads pages from `threads` threads for `duration`: each thread all lists in turn, every page from
/// another place.
///
/// # Errors
/// An error of the store.
pub fn measure(
    store: &Store,
    lists: &[MeasuredList],
    page_size: PageSize,
    threads: usize,
    duration: Duration,
) -> Result<ReaderTimes> {
    let began = Instant::now();
    let until = began + duration;
    let results: Vec<Result<Latencies>> = thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || read(store, lists, page_size, number, until)))
            .collect();
        let join = |reader: thread::ScopedJoinHandle<'_, _>| {
            reader.join().unwrap_or_else(|_| Err(anyhow!("a reader thread panicked")))
        };
        readers.into_iter().map(join).collect()
    });
    let elapsed = began.elapsed();
    let mut latencies = Latencies::new()?;
    for found in results {
        latencies.add(&found?)?;
    }
    let pages_per_second = latencies.len() as f64 / elapsed.as_secs_f64();
    Ok(ReaderTimes { threads, pages_per_second, latencies })
}

fn read(
    store: &Store,
    lists: &[MeasuredList],
    page_size: PageSize,
    number: usize,
    until: Instant,
) -> Result<Latencies> {
    let mut engine = Convodb::new(store.clone());
    let mut latencies = Latencies::new()?;
    // Each thread begins elsewhere.
    let orders = lists.iter().map(|list| {
        let order = scattered(list.places.spread.len());
        order.clone().skip(number * 97 % list.places.spread.len().max(1)).chain(order).cycle()
    });
    let mut orders: Vec<_> = orders.collect();
    while Instant::now() < until {
        for (list, order) in lists.iter().zip(&mut orders) {
            let start = order.next().map(|at| &list.places.spread[at]);
            let place = start.map_or(Place::First, Place::After);
            let query = PageQuery { user: list.user, list: &list.list, place, page_size };
            let began = Instant::now();
            engine.visit(&query)?;
            latencies.record(began.elapsed())?;
        }
    }
    Ok(latencies)
}
