//! Lists of the rules: layers of every crate, names that stay in their folders, paths and limits.

/// The layers of a crate.
#[derive(Clone, Copy, Debug)]
pub struct LayeredCrate {
    /// The folder of the crate, from the root of the repository.
    pub folder: &'static str,
    /// The layers, bottom first. A layer is one or more folders or root files of `src/`. A file
    /// may import from its own layer and from lower ones. `lib.rs` and `main.rs` are above all.
    pub layers: &'static [&'static [&'static str]],
}

/// Every crate of the repository with its layers.
pub const LAYERS: &[LayeredCrate] = &[
    LayeredCrate {
        folder: "crates/convodb",
        layers: &[
            &["error", "metrics"],
            &["model"],
            &["encoding"],
            &["io"],
            &["options", "rules"],
            &["kv"],
            &["wal"],
            &["tables"],
            &["query"],
            &["snapshot", "transaction"],
            &["engine"],
            &["store"],
            &["verify", "bulk_load", "maintenance"],
            &["seam"],
            &["fuzzing"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-bench",
        layers: &[
            &["chart", "dataset", "document_block", "latency", "row", "system"],
            &["filter", "lists"],
            &["sql", "starts"],
            &["engine"],
            &["result", "sqlite"],
            &["against", "counts", "pages"],
            &["cold", "readers", "writes"],
            &["run"],
            &["html"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-tokio",
        layers: &[
            &["run_blocking"],
            &["pages"],
            &["conversations", "commits"],
            &["store"],
            &["change_feed", "writes"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-json",
        layers: &[
            &["field", "json"],
            &["assistant_names", "channel", "time"],
            &["message"],
            &["write", "csv"],
            &["export_lines", "selection"],
            &["parse"],
            &["apply", "long_item"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-service",
        layers: &[&["error", "news", "write"], &["access"], &["remote"], &["view"], &["source"]],
    },
    LayeredCrate {
        folder: "crates/convodb-console",
        layers: &[
            &["assets", "chart", "format", "query", "text"],
            &["frame", "markup"],
            &["list", "session"],
            &["conversation", "customer", "health", "tokens", "volumes"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-postgres",
        layers: &[
            &["copying", "error", "read_metrics", "schema", "shape"],
            &["tls", "values"],
            &["page_statement", "rows"],
            &["conversation_row", "known_tokens", "plan_check"],
            &["citus", "connection", "import", "verify"],
            &["pool", "snapshot_connection", "writes"],
            &["news"],
            &["cluster"],
            &[
                "accounts",
                "cluster_writes",
                "conversations",
                "count",
                "explain",
                "feed",
                "health",
                "list_export",
            ],
            &["erasure", "expiry", "export", "requests"],
            &["remote"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-http",
        layers: &[
            &["least_rate", "limits", "log_writer", "process_key", "run_blocking"],
            &["error", "response"],
            &["clock"],
            &["middleware"],
            &["state"],
            &["extract"],
            &["body"],
            &["routes"],
            &["server"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-cli",
        layers: &[
            &["args", "postgres_flags"],
            &["console"],
            &["admin_client"],
            &["open_store"],
            &["accounts", "resolve"],
            &["io"],
            &["import_api"],
            &["serve"],
            &["commands"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-testkit",
        layers: &[
            &["erasure", "golden", "http_client", "oracle", "wait"],
            &["generators", "page_walk", "slow_clients"],
            &["harness"],
            &["list_bounds", "live_walk"],
            &["operations"],
            &["simulation"],
        ],
    },
    LayeredCrate {
        folder: "crates/convodb-torture",
        layers: &[
            &["scenario", "temporary_directory"],
            &["runner", "write_log"],
            &["report"],
            &["subprocess"],
            &["clients"],
            &["store_dump"],
            &["scenarios"],
        ],
    },
    LayeredCrate {
        folder: "xtask",
        layers: &[&["finding", "banned", "lists"], &["source", "cycles"], &["checks"]],
    },
];

/// Where a rule of containment refuses its words. A place is a folder or a file of `src/`.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    /// Everywhere except in these places.
    Except(&'static [&'static str]),
    /// In these places alone.
    Only(&'static [&'static str]),
}

/// Names that code may use in some places only.
#[derive(Clone, Copy, Debug)]
pub struct Containment {
    /// The beginnings of the refused names.
    pub words: &'static [&'static str],
    /// Where they are refused.
    pub scope: Scope,
    /// The message, which follows the name.
    pub text: &'static str,
}

/// The crate that `CONTAINMENT` is about.
pub const ENGINE: &str = "crates/convodb";

/// What stays in its folders of the engine.
pub const CONTAINMENT: &[Containment] = &[
    Containment {
        words: &["redb::"],
        scope: Scope::Except(&[
            "error",
            "io/redb_backend",
            "kv",
            "tables",
            "engine",
            "bulk_load",
            "maintenance",
            "store",
            "fuzzing",
        ]),
        text: "is allowed only where tables, transactions or the file are in use",
    },
    Containment {
        words: &["bincode::"],
        scope: Scope::Except(&["encoding/record"]),
        text: "is allowed only in encoding/record.rs",
    },
    Containment {
        words: &[
            "std::fs",
            "fs::",
            "try_exists",
            ".exists()",
            ".is_file()",
            ".is_dir()",
            ".read_dir()",
            ".canonicalize()",
        ],
        // The fuzzer creates files by hand.
        scope: Scope::Except(&["io", "kv/external_sort", "fuzzing"]),
        text: "bypasses the Vfs, so simulated disks cannot fail it",
    },
    Containment {
        words: &["WriteT", "begin_write"],
        scope: Scope::Only(&["query", "snapshot", "tables/state", "engine/published"]),
        text: "can write, and reads must not",
    },
    Containment {
        words: &["Instant::now"],
        // Ages of a memtable, latencies and retries are schedules, not data.
        scope: Scope::Except(&["metrics", "engine/write_queue", "store"]),
        text: "reads a clock; pass the time as an argument",
    },
    Containment {
        words: &["SystemTime", "Timestamp::now", "Zoned::now"],
        scope: Scope::Except(&["model/timestamp"]),
        text: "reads a clock; data contains the caller's time only",
    },
    Containment {
        words: &["tokio", "async "],
        scope: Scope::Except(&[]),
        text: "belongs in convodb-tokio; the engine is synchronous",
    },
];

/// The file that declares the tables.
pub const SCHEMA: &str = "crates/convodb/src/tables/schema.rs";
/// The document of the file format.
pub const FILE_FORMAT: &str = "docs/file-format.md";
/// The manifest of the fuzz targets, a workspace of its own.
pub const FUZZ: &str = "fuzz/Cargo.toml";

/// The lock files of all workspaces.
pub const LOCK_FILES: &[&str] =
    &["Cargo.lock", "benches/compare/Cargo.lock", "clients/rust/Cargo.lock", "fuzz/Cargo.lock"];

/// Packages that the engine must not depend on.
pub const ENGINE_WITHOUT: &[&str] = &["tokio", "hyper", "axum", "futures"];
/// The most packages of the engine's dependency tree, the engine included.
pub const ENGINE_PACKAGES: usize = 47;
