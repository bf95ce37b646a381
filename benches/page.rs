//! Criterion bench of page latency: reads a page from a new snapshot and decodes its rows.
//!
//! Pages are first, deep and backward, of 15 and of 100 rows, for each list of the biggest user, at
//! 10^4, 10^5 and 10^6 rows. `CONVODB_BENCH_ROWS=10000,100000` sets other sizes.

use std::hint::black_box;
use std::time::Duration;

use convodb::{ListRequest, PageSize, Store, UserId};
use convodb_benches::{lists, page_starts, store_of};
use criterion::{Criterion, criterion_group, criterion_main};

fn sizes() -> Vec<u64> {
    let sizes = std::env::var("CONVODB_BENCH_ROWS").unwrap_or("10000,100000,1000000".to_owned());
    sizes.split(',').filter_map(|rows| rows.trim().parse().ok()).collect()
}

/// Reads one page as a caller would: a snapshot, the page, every row.
fn read(store: &Store, user: UserId, request: &ListRequest) -> usize {
    let page = store.snapshot().list(user, request).unwrap_or_else(|error| panic!("{error}"));
    page.conversations().map(|row| black_box(row).message_count as usize).sum()
}

fn pages(criterion: &mut Criterion) {
    for rows in sizes() {
        let (store, users) = store_of(rows).unwrap_or_else(|error| panic!("{error}"));
        let user = users[0];
        let lists = lists(&store.snapshot(), user).unwrap_or_else(|error| panic!("{error}"));
        for (name, filter) in lists {
            for size in [15, 100] {
                let page_size = PageSize::new(size).unwrap_or_default();
                let first = ListRequest {
                    filter: filter.clone(),
                    page_size: Some(page_size),
                    ..ListRequest::default()
                };
                let starts = page_starts(&store.snapshot(), user, &filter, page_size)
                    .unwrap_or_else(|error| panic!("{error}"));
                let mut group = criterion.benchmark_group(format!("page/{rows}/{name}/{size}"));
                for (depth, requests) in
                    [("first", vec![first]), ("deep", starts.next), ("back", starts.prev)]
                {
                    // A list of one page has no deep pages.
                    if requests.is_empty() {
                        continue;
                    }
                    let mut turn = requests.iter().cycle();
                    group.bench_function(depth, |bencher| {
                        bencher.iter(|| {
                            let request = turn.next().unwrap_or(&requests[0]);
                            read(&store, user, request)
                        });
                    });
                }
                group.finish();
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = pages
}
criterion_main!(benches);
