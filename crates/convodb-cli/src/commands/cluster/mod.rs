//! `convodb cluster`: creates, fills, administers, verifies and observes a store on PostgreSQL.

mod database;
mod erase;
mod health;
mod prune;
mod token;
mod user;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use convodb_postgres::{Cluster, ClusterOptions, CopyProgress, CopyReport, VerifyReport};
use serde::Serialize;

use crate::args::{DbFlag, JsonFlag};
use crate::commands::cluster::database::DatabaseFlags;
use crate::console::{grouped, say};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};

/// The verbs of `convodb cluster`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create an empty store in a schema of the database
    ///
    /// Creates the schema if it does not exist. Everything happens in one transaction.
    #[command(
        after_help = "Example: convodb cluster init --pg-url postgresql://convodb@db1/convodb"
    )]
    Init(InitArgs),
    /// Copy the store of a file into an empty schema of the database
    ///
    /// Copies users, access tokens, assistants, conversations, messages, counters, change feeds and
    /// idempotency records, with the secrets and positions that they have: tokens and cursors of
    /// clients stay valid. Everything happens in one transaction. No server may have the file open.
    #[command(after_help = "Example: convodb cluster import --db chats.convodb \
                      --pg-url postgresql://convodb@db1/convodb")]
    Import(ImportArgs),
    /// Copy the store in the database into a new file, to serve it from there again
    ///
    /// The inverse of `import`: tokens, cursors and idempotency keys of clients stay valid. Stop the
    /// programs that write to the database first; what they write afterwards is not copied. The file
    /// is audited before it gets its name. It has no optional indexes.
    #[command(after_help = "Example: convodb cluster export --db new.convodb \
                      --pg-url postgresql://convodb@db1/convodb")]
    Export(ExportArgs),
    /// Read the whole store in the database and check that its tables agree
    ///
    /// The exit status is 1 if anything is inconsistent.
    #[command(
        after_help = "Example: convodb cluster verify --pg-url postgresql://convodb@db1/convodb"
    )]
    Verify(VerifyArgs),
    Health(health::Args),
    /// Create, list, rename and remove users of the store in the database, and set their quotas
    #[command(subcommand)]
    User(user::Command),
    /// Create, list, narrow and revoke access tokens of the store in the database
    #[command(subcommand)]
    Token(token::Command),
    Prune(prune::Args),
    Erase(erase::Args),
}

/// The flags of `convodb cluster init`.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    tables: TableFlags,
}

/// How the tables of a new store are made.
#[derive(Debug, clap::Args)]
struct TableFlags {
    /// Distribute the tables over the workers of Citus, by user; the database needs the extension citus
    #[arg(long, env = "CONVODB_CITUS", help_heading = "PostgreSQL")]
    citus: bool,
}

impl TableFlags {
    fn options(&self, database: &DatabaseFlags) -> Result<ClusterOptions> {
        let options = database.options()?;
        Ok(if self.citus { options.distributed() } else { options })
    }
}

/// The flags of `convodb cluster import`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    tables: TableFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// The flags of `convodb cluster export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// File to create
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    db: PathBuf,
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// The flags of `convodb cluster verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// What was copied, as JSON.
#[derive(Serialize)]
struct CopyLine {
    users: u64,
    tokens: u64,
    assistants: u64,
    conversations: u64,
    messages: u64,
    changes: u64,
    idempotency_records: u64,
    seconds: f64,
}

impl CopyLine {
    fn new(report: &CopyReport, started: Instant) -> Self {
        Self {
            users: report.users,
            tokens: report.tokens,
            assistants: report.assistants,
            conversations: report.conversations,
            messages: report.messages,
            changes: report.changes,
            idempotency_records: report.responses,
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}

/// Shows how far a copy is.
fn show(at: CopyProgress) {
    say(format_args!("{}: {} rows", at.table, grouped(at.rows)));
}

/// What was read and found, as JSON.
#[derive(Serialize)]
struct VerifyLine<'f> {
    users: u64,
    conversations: u64,
    messages: u64,
    changes: u64,
    faults: Vec<FindingLine<'f>>,
}

#[derive(Serialize)]
struct FindingLine<'f> {
    table: &'static str,
    what: &'f str,
    user: u32,
}

/// Runs a verb of `convodb cluster`.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<ExitCode> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    match command {
        Command::Init(args) => {
            runtime.block_on(Cluster::create(&args.tables.options(&args.database)?))?;
            say(format_args!("created a store in schema {}", args.database.connection.pg_schema));
            Ok(ExitCode::SUCCESS)
        }
        Command::Import(args) => {
            let options = args.tables.options(&args.database)?;
            let started = Instant::now();
            let served = WhileServed::Copy("convodb cluster import");
            let store = existing(&args.db.db, LARGE_CACHE_BYTES, served)?;
            let report = runtime.block_on(Cluster::import(&options, &store, show))?;
            store.close()?;
            let line = CopyLine::new(&report, started);
            success(print_copy("imported", &line, &args.json, out))
        }
        Command::Export(args) => {
            let started = Instant::now();
            let options = args.database.options()?;
            let report = runtime.block_on(Cluster::export(&options, &args.db, show));
            let report = report.context("cannot export; no file was created")?;
            let line = CopyLine::new(&report, started);
            success(print_copy("exported", &line, &args.json, out))
        }
        Command::Verify(args) => {
            let found = runtime.block_on(Cluster::verify(&args.database.options()?))?;
            print_findings(&found, &args.json, out)?;
            Ok(if found.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Health(args) => runtime.block_on(health::run(&args, out)),
        Command::User(command) => success(runtime.block_on(user::run(command, out))),
        Command::Token(command) => success(runtime.block_on(token::run(command, out))),
        Command::Prune(args) => success(runtime.block_on(prune::run(&args, out))),
        Command::Erase(args) => success(runtime.block_on(erase::run(&args, out))),
    }
}

fn success(done: Result<()>) -> Result<ExitCode> {
    done.map(|()| ExitCode::SUCCESS)
}

/// Prints what was copied, as `word` says.
fn print_copy(word: &str, line: &CopyLine, json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
    if json.json {
        writeln!(out, "{}", serde_json::to_string(line)?)?;
    }
    say(format_args!(
        "{word} {} conversations with {} messages of {} users ({:.1} s)",
        grouped(line.conversations),
        grouped(line.messages),
        grouped(line.users),
        line.seconds
    ));
    Ok(())
}

fn print_findings(found: &VerifyReport, json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
    if json.json {
        let faults = found.findings.iter().map(|finding| {
            let user = finding.user.get();
            FindingLine { table: finding.table, what: &finding.what, user }
        });
        let line = VerifyLine {
            users: found.users,
            conversations: found.conversations,
            messages: found.messages,
            changes: found.changes,
            faults: faults.collect(),
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        return Ok(());
    }
    let counts = [
        ("users", found.users),
        ("conversations", found.conversations),
        ("messages", found.messages),
        ("changes", found.changes),
        ("findings", found.findings.len() as u64),
    ];
    for (what, count) in counts {
        writeln!(out, "{what:<14}{:>14}", grouped(count))?;
    }
    for finding in &found.findings {
        let user = finding.user.get();
        writeln!(out, "finding: {}: {} (user {user})", finding.table, finding.what)?;
    }
    Ok(())
}
