//! Criterion bench of the response body: writes a page as JSON as the server does, with lookups of
//! assistant names and sealed cursors, and measures its parts.

use std::hint::black_box;
use std::time::Duration;

use convodb::{Cost, ListRequest, PageSize, Timestamp};
use convodb_benches::{page_starts, store_of};
use convodb_http::{PageTokens, write_page};
use convodb_json::AssistantNames;
use criterion::{Criterion, criterion_group, criterion_main};

const URL: &str = "http://127.0.0.1:8080/api/user/conversations";

fn bodies(criterion: &mut Criterion) {
    let (store, users) = store_of(100_000).unwrap_or_else(|error| panic!("{error}"));
    let (snapshot, user) = (store.snapshot(), users[0]);
    for size in [15, 100] {
        let page_size = PageSize::new(size).unwrap_or_default();
        let all = ListRequest::default();
        let deep = page_starts(&snapshot, user, &all.filter, page_size)
            .unwrap_or_else(|error| panic!("{error}"));
        let pages = deep.next.iter().map(|request| snapshot.list(user, request));
        let pages: Vec<_> = pages.map(|page| page.unwrap_or_else(|e| panic!("{e}"))).collect();
        let mut group = criterion.benchmark_group(format!("body/{size}"));
        let mut turn = pages.iter().cycle();
        group.bench_function("whole", |bencher| {
            bencher.iter(|| {
                let page = turn.next().unwrap_or(&pages[0]);
                let tokens = PageTokens::of(page, &snapshot);
                let mut names = AssistantNames::new(snapshot.clone(), user);
                let mut body = Vec::new();
                let written = write_page(&mut body, URL, page, &tokens, &mut names);
                written.map(|()| body)
            });
        });
        let tokens = PageTokens::of(&pages[0], &snapshot);
        group.bench_function("without sealing", |bencher| {
            bencher.iter(|| {
                let page = turn.next().unwrap_or(&pages[0]);
                let mut names = AssistantNames::new(snapshot.clone(), user);
                let mut body = Vec::new();
                let written = write_page(&mut body, URL, page, &tokens, &mut names);
                written.map(|()| body)
            });
        });
        let mut names = AssistantNames::new(snapshot.clone(), user);
        group.bench_function("with known names", |bencher| {
            bencher.iter(|| {
                let page = turn.next().unwrap_or(&pages[0]);
                let mut body = Vec::new();
                let written = write_page(&mut body, URL, page, &tokens, &mut names);
                written.map(|()| body)
            });
        });
        group.bench_function("rows decoded alone", |bencher| {
            bencher.iter(|| {
                let page = turn.next().unwrap_or(&pages[0]);
                for row in page.conversations() {
                    black_box(row);
                }
            });
        });
        group.finish();
    }
}

fn printers(criterion: &mut Criterion) {
    use std::io::Write;
    let at = Timestamp::from_millis(1_737_800_000_000).unwrap_or(Timestamp::MIN);
    let cost = Cost::from_nanos(40_000_000);
    let mut out = Vec::with_capacity(64);
    criterion.bench_function("print/time", |bencher| {
        bencher.iter(|| {
            out.clear();
            write!(out, "{}", black_box(at))
        });
    });
    criterion.bench_function("print/cost", |bencher| {
        bencher.iter(|| {
            out.clear();
            write!(out, "{}", black_box(cost))
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = bodies, printers
}
criterion_main!(benches);
