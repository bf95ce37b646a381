//! The command line of the verbs that look after a store: backup, restore, stats, compact, export,
//! erase, retain. Like `args`, data and nothing that acts on it.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgGroup, Args, ValueEnum};
use convodb::Name;

use crate::flags::{Db, Filters, Json, OrderWord, Owner};

/// Write a backup: a compact copy of one state of the store, checked on the way
///
/// The backup is a store of its own: cursors and tokens are valid in it. Beside it stands its BLAKE3
/// checksum (FILE.b3, which `b3sum --check` reads). No file is overwritten.
///
/// A store that is served is backed up by its server, while it goes on: start it with --admin-socket
/// and --backup-dir, and name the same socket here. The file's name is then told.
#[derive(Debug, Args)]
#[command(
    override_usage = "convodb backup --db <FILE> --to <FILE>\n       \
                      convodb backup --admin-socket <SOCKET> [--name <NAME>]",
    after_help = "Example: convodb backup --db chats.convodb --to /backups/chats-2025-01-25.convodb"
)]
pub(crate) struct Backup {
    /// The store's file, which no server may hold
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// The backup's file
    #[arg(long, env = "CONVODB_TO", value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// The socket of the server that holds the store
    #[arg(long, env = "CONVODB_ADMIN_SOCKET", value_name = "SOCKET", conflicts_with = "to")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// The backup's name in the server's --backup-dir [default: of the present time]
    #[arg(long, env = "CONVODB_NAME", value_name = "NAME", requires = "admin_socket")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Make a store of a backup
///
/// The backup must be what its checksum beside it says. It is copied, and the copy audited as
/// `convodb verify` does; only then it gets its name. A file that is there is not overwritten: move
/// the store that is to be replaced away first, with its log (FILE-log.*). The exit status is 1 when
/// the audit finds anything.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: convodb restore /backups/chats-2025-01-25.convodb --to chats.convodb"
)]
pub(crate) struct Restore {
    /// The backup's file
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// The store's file, which must not be there yet
    #[arg(long, env = "CONVODB_TO", value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Restore a backup whose checksum was lost; it is audited all the same
    #[arg(long, env = "CONVODB_WITHOUT_CHECKSUM", value_parser = BoolishValueParser::new())]
    pub(crate) without_checksum: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Tell what a store takes: bytes of its files, and entries and bytes of each table
///
/// Reads every page for the bytes of the tables. A server that holds the store tells all but those,
/// at once: name its socket.
#[derive(Debug, Args)]
#[command(
    override_usage = "convodb stats --db <FILE>\n       convodb stats --admin-socket <SOCKET>",
    after_help = "Example: convodb stats --db chats.convodb --json"
)]
pub(crate) struct Stats {
    /// The store's file, which no server may hold
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// The socket of the server that holds the store
    #[arg(long, env = "CONVODB_ADMIN_SOCKET", value_name = "SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Write the store anew, without what was deleted
///
/// Needs room for a second, compact file, which then takes the place of the first in one step: a crash
/// leaves either. No byte of what was deleted is left in it. The server must be stopped meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "Example: convodb compact --db chats.convodb")]
pub(crate) struct Compact {
    #[command(flatten)]
    pub(crate) db: Db,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Write conversations to a file or to standard output
///
/// JSON lines lose nothing: imported again, they are the same conversations. CSV is a table for other
/// programs: a line for each conversation, with the columns that docs/api.md tells. All of it is one
/// state of the store. A path that ends in .gz or .zst is packed.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: convodb export --db chats.convodb --user acme --messages acme.jsonl.zst"
)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) db: Db,
    #[command(flatten)]
    pub(crate) owner: Owner,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Oldest (asc) or newest (desc) first; imported oldest first, rows of one millisecond keep their
    /// order
    #[arg(long, env = "CONVODB_ORDER", default_value = "asc")]
    pub(crate) order: OrderWord,
    /// With their messages
    #[arg(long, env = "CONVODB_MESSAGES", value_parser = BoolishValueParser::new())]
    pub(crate) messages: bool,
    /// The form of the file [default: by the end of its name, else jsonl]
    #[arg(long, env = "CONVODB_FORMAT", value_name = "FORMAT")]
    pub(crate) format: Option<ExportFormat>,
    /// The file to write, which must not be there yet, or - for standard output
    #[arg(value_name = "PATH", default_value = "-")]
    pub(crate) path: PathBuf,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A JSON object a line: loses nothing
    Jsonl,
    /// A line of columns a conversation
    Csv,
    /// Columns, for analytics
    #[cfg(feature = "parquet")]
    Parquet,
}

/// Erase conversations, or a user with everything
///
/// What is found through the filters is deleted with its messages, index entries and counters; with
/// --everything, also the user's assistants, tokens and account. Then the store is compacted, so that
/// no byte of it is left in its files. Backups and exports are not touched: they are yours to replace.
/// What others wrote of a person in other conversations is not found.
///
/// A store that is served is erased from by its server, while it goes on: name its socket. The bytes
/// are then in the file until the server is stopped and `convodb compact` is run.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "Examples: convodb erase --db chats.convodb --user acme --customer-phone +14155559876\n          \
                  convodb erase --db chats.convodb --user acme --everything"
)]
pub(crate) struct Erase {
    /// The store's file, which no server may hold
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// The socket of the server that holds the store
    #[arg(long, env = "CONVODB_ADMIN_SOCKET", value_name = "SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) owner: Owner,
    /// All conversations with this customer's phone number
    #[arg(
        long,
        env = "CONVODB_CUSTOMER_PHONE",
        value_name = "PHONE",
        hide_env_values = true,
        group = "what"
    )]
    pub(crate) customer_phone: Option<String>,
    /// All conversations with this identifier of the user's own
    #[arg(
        long,
        env = "CONVODB_EXTERNAL_IDENTIFIER",
        value_name = "TEXT",
        hide_env_values = true,
        group = "what"
    )]
    pub(crate) external_identifier: Option<String>,
    /// The user, with all that is the user's
    #[arg(long, env = "CONVODB_EVERYTHING", value_parser = BoolishValueParser::new(), group = "what")]
    pub(crate) everything: bool,
    /// Do not ask
    #[arg(long, env = "CONVODB_YES", value_parser = BoolishValueParser::new())]
    pub(crate) yes: bool,
    /// Leave the bytes in the file until `convodb compact` is run
    #[arg(long, env = "CONVODB_NO_COMPACT", value_parser = BoolishValueParser::new())]
    pub(crate) no_compact: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Delete conversations that were created more than some days ago
///
/// Oldest first, in writes of bounded size. `convodb serve --keep DAYS` does the same while it serves.
/// Their bytes stay in the file, to be used again, until `convodb compact` is run.
#[derive(Debug, Args)]
#[command(after_help = "Example: convodb retain --db chats.convodb --keep 365")]
pub(crate) struct Retain {
    #[command(flatten)]
    pub(crate) db: Db,
    /// How many days a conversation is kept, from its time of creation
    #[arg(long, env = "CONVODB_KEEP", value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: u32,
    /// Only this user's [default: all users']
    #[arg(long, env = "CONVODB_USER", value_name = "NAME")]
    pub(crate) user: Option<Name>,
    #[command(flatten)]
    pub(crate) json: Json,
}
