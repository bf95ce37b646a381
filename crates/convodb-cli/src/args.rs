//! The command line as data: every verb, flag and default, and nothing that acts on them.
//!
//! Each flag has an environment variable, which `--help` shows; a flag wins over its variable.
//! Phones and tokens are taken as plain text and checked by their verb, because a parser's message
//! would repeat what it refused.

use std::path::PathBuf;

use clap::builder::{ArgPredicate, BoolishValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use convodb::{Name, PageSize};
use convodb_http::{PublicUrl, RateLimit};

use crate::import_api::args::FromApi;
use crate::upkeep::{Backup, Compact, Erase, Export, Restore, Retain, Stats};

pub(crate) use crate::flags::{AssistantKey, ByteSize, Db, Filters, Json, OrderWord, Owner, Usage};

/// An embedded store of conversations: serve it, import into it, list it, look after it.
#[derive(Debug, Parser)]
#[command(name = "convodb", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Each flag can also be set by the environment variable beside it; the flag wins.
Results go to standard output, everything else to standard error.

Exit status: 0 done; 1 failed, or an audit found something; 2 wrong command line or settings;
3 import rejected some lines.

A first look: convodb serve --demo";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Serve(Serve),
    Import(Import),
    /// Create or list users
    #[command(subcommand)]
    User(User),
    /// Create or revoke access tokens
    #[command(subcommand)]
    Token(Token),
    /// Create, list or rename assistants
    #[command(subcommand)]
    Assistant(Assistant),
    List(List),
    Verify(Verify),
    Export(Export),
    Backup(Backup),
    Restore(Restore),
    Stats(Stats),
    Compact(Compact),
    Erase(Erase),
    Retain(Retain),
    /// Print the description of the server's API, in OpenAPI 3.1
    Openapi,
}

/// Serve a store over HTTP until Ctrl-C or SIGTERM
///
/// With --demo, a store of about 20,000 conversations over two years is made first, in a temporary
/// file, or in FILE if one is named, where it is kept and served again the next time. A fresh token
/// and two curl lines to try are printed.
///
/// Each flag can also stand in a file of settings, under its name without dashes in front, as in
/// docs/deploy/convodb.toml; a flag wins over its variable, that over the file.
#[derive(Debug, Args)]
#[command(override_usage = "convodb serve --db <FILE> [OPTIONS]\n       \
                            convodb serve --demo [--db <FILE>] [OPTIONS]")]
pub(crate) struct Serve {
    /// The store's file
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "CONVODB_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// The base of the URLs in answers, where a proxy stands in front; else the request's Host
    #[arg(long, env = "CONVODB_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<PublicUrl>,
    /// Serve made-up conversations
    #[arg(long, env = "CONVODB_DEMO", value_parser = BoolishValueParser::new())]
    pub(crate) demo: bool,
    /// The most memory for pages of the file: bytes, or with KiB, MiB, GiB
    #[arg(long, env = "CONVODB_CACHE_BYTES", value_name = "SIZE", default_value = "1GiB")]
    pub(crate) cache_bytes: ByteSize,
    /// How many requests each token may make, as in 50/s, 600/m or 10000/h [default: any number]
    #[arg(long, env = "CONVODB_RATE_LIMIT", value_name = "N/s")]
    pub(crate) rate_limit: Option<RateLimit>,
    /// The most connections at a time; one more waits until another is closed
    #[arg(long, env = "CONVODB_MAX_CONNECTIONS", value_name = "N", default_value = "10000",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// For the head of a request to come, and for an idle connection to become busy again
    #[arg(long, env = "CONVODB_HEAD_TIMEOUT", value_name = "SECONDS", default_value = "10",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) head_timeout: u64,
    /// For a client to take some of what it is sent
    #[arg(long, env = "CONVODB_WRITE_TIMEOUT", value_name = "SECONDS", default_value = "30",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) write_timeout: u64,
    /// What to log to standard error: a level or filter directives; "info,convodb_http::access=debug"
    /// adds a line for each request
    #[arg(long, env = "CONVODB_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
    /// The form of the log's lines
    #[arg(long, env = "CONVODB_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// A Unix socket for `convodb backup`, `stats` and `erase`, for the server's own user alone
    #[arg(long, env = "CONVODB_ADMIN_SOCKET", value_name = "SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// The directory that backups asked for over the admin socket go to
    #[arg(long, env = "CONVODB_BACKUP_DIR", value_name = "DIR")]
    pub(crate) backup_dir: Option<PathBuf>,
    /// Delete conversations so many days after they were created, now and every hour [default: never]
    #[arg(long, env = "CONVODB_KEEP", value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,
    /// How many days to keep changes for those who follow them
    #[arg(long, env = "CONVODB_KEEP_CHANGES", value_name = "DAYS", default_value = "30", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_changes: u32,
    /// A file of settings, in TOML
    #[arg(long, env = "CONVODB_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Check the settings, print them with where each comes from, and do nothing else
    #[arg(long, env = "CONVODB_CHECK_CONFIG", value_parser = BoolishValueParser::new())]
    pub(crate) check_config: bool,
}

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// For programs: an object a line
    Json,
}

/// Import conversations from JSON lines
///
/// Each line is one conversation as the list of the API shows it, with an optional array `messages`.
/// The input is plain, gzip or zstd, told by its first bytes.
///
/// A conversation whose id the user already has is left as it is, so a second run changes nothing; of
/// several lines with one id the first counts. What comes before a break in the input is imported.
/// An assistant that the user does not have is created with the id and the name of the line; one
/// that the user has keeps its name.
///
/// A line that cannot be taken is written to the file of rejects, as an object of its number
/// `line`, the `reason` and its `text`, and the import goes on. The exit status is then 3.
///
/// With --from-api, the conversations come from another server of the API, page by page, oldest first
/// where it can; each page is durable before the next is asked for. Interrupted, the same command goes
/// on after the last page that was finished: what it needs stands beside the store, in FILE.migration.
#[derive(Debug, Args)]
#[command(override_usage = "convodb import --db <FILE> --user <NAME> [OPTIONS] <PATH>\n       \
                            convodb import --db <FILE> --user <NAME> --from-api <URL> [OPTIONS]")]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) db: Db,
    #[command(flatten)]
    pub(crate) owner: Owner,
    /// Create the user, and the store, where there is none
    #[arg(long, env = "CONVODB_CREATE_USER", value_parser = BoolishValueParser::new())]
    pub(crate) create_user: bool,
    /// Where rejected lines go [default: the name of PATH with .rejects.jsonl, in this directory]
    #[arg(long, env = "CONVODB_REJECTS", value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    /// Memory for sorting, beside 256 MiB for pages of the file; what has no room is sorted in the
    /// directory for temporary files
    #[arg(long, env = "CONVODB_MEMORY", value_name = "SIZE", default_value = "256MiB")]
    pub(crate) memory: ByteSize,
    #[command(flatten)]
    pub(crate) json: Json,
    #[command(flatten)]
    pub(crate) from_api: FromApi,
    /// The file to read, or - for standard input
    #[arg(default_value_if("from_api", ArgPredicate::IsPresent, "-"))]
    #[arg(required = false, required_unless_present = "from_api", conflicts_with = "from_api")]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Create a user, and the store where there is no file; prints the user's number
    Create {
        #[command(flatten)]
        db: Db,
        /// A name that no other user has
        name: Name,
    },
    /// List all users
    List {
        #[command(flatten)]
        db: Db,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Create an access token; prints it, once: only its hash is stored
    Create {
        #[command(flatten)]
        db: Db,
        #[command(flatten)]
        owner: Owner,
    },
    /// Revoke an access token
    Revoke {
        #[command(flatten)]
        db: Db,
        /// The token, or - to read it from standard input, out of the shell's history
        token: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Assistant {
    /// Create an assistant; prints its id
    Create {
        #[command(flatten)]
        db: Db,
        #[command(flatten)]
        owner: Owner,
        /// The assistant's name
        #[arg(value_name = "ASSISTANT")]
        name: Name,
    },
    /// List the user's assistants
    List {
        #[command(flatten)]
        db: Db,
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        json: Json,
    },
    /// Rename an assistant; every list shows the new name at once
    Rename {
        #[command(flatten)]
        db: Db,
        #[command(flatten)]
        owner: Owner,
        /// The assistant's id or number
        #[arg(value_name = "ID")]
        key: AssistantKey,
        /// The new name
        #[arg(value_name = "NEWNAME")]
        name: Name,
    },
}

/// List conversations, newest first
///
/// Filters match exactly, in any combination. With --json, each line is one conversation as the list
/// of the API shows it: without messages, with times to the second. Imported again with --order asc,
/// rows of one second keep their order. The cursors go to standard error.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) db: Db,
    #[command(flatten)]
    pub(crate) owner: Owner,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Newest (desc) or oldest (asc) first [default: desc]
    #[arg(long, env = "CONVODB_ORDER")]
    pub(crate) order: Option<OrderWord>,
    /// How many a page, 1 to 100 [default: 15, or 100 with --all]
    #[arg(long, env = "CONVODB_PER_PAGE", value_name = "N")]
    pub(crate) per_page: Option<PageSize>,
    /// The page at this cursor, which a page before printed; it carries the filters
    #[arg(long, env = "CONVODB_CURSOR", value_name = "CURSOR", hide_env_values = true)]
    pub(crate) cursor: Option<String>,
    /// All pages, one after the other
    #[arg(long, env = "CONVODB_ALL", value_parser = BoolishValueParser::new())]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Read everything and check that it agrees: records, indexes, counters, histories
///
/// The exit status is 1 when anything does not hold.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) db: Db,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, CommandFactory};

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Every flag is also an environment variable, of a name that says whose it is.
    #[test]
    fn every_flag_has_its_variable() {
        fn walk(command: &Command) {
            for flag in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let long = flag.get_long().unwrap();
                if ["help", "version"].contains(&long) {
                    continue;
                }
                let expected = format!("CONVODB_{}", long.replace('-', "_").to_uppercase());
                let variable = flag.get_env().unwrap_or_else(|| panic!("--{long} has none"));
                assert_eq!(variable.to_str().unwrap(), expected);
                assert!(flag.get_help().is_some(), "--{long} has no help");
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
