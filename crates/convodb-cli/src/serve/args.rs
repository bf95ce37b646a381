//! Flags of `convodb serve`.

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::BoolishValueParser;
use convodb::{Day, IndexFamilies, Quota};
use convodb_http::{CorsOrigin, PublicUrl, RateLimit};

use crate::args::ByteSize;
use crate::postgres_flags::PostgresFlags;

/// Serve a store over HTTP until Ctrl-C or SIGTERM
///
/// With --demo, generates a store of 12,000 conversations over a year and prints a new access token
/// with curl commands to try. The store is temporary, or the file that --db names, which is kept and
/// served again the next time.
///
/// Each flag can also be set in a settings file in TOML, by its name without dashes in front; see
/// docs/operations/convodb.toml. Flags win over environment variables, and those over the file.
/// --keep and --keep-changes have no variable, because they choose what is deleted.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "convodb serve --db <FILE> [OPTIONS]\n       \
                      convodb serve --demo [--db <FILE>] [OPTIONS]\n       \
                      convodb serve --pg-url <URL> [OPTIONS]",
    after_help = "Examples:\n  convodb serve --demo\n  convodb serve --config /etc/convodb/convodb.toml"
)]
pub(crate) struct Args {
    /// File of the store
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// PostgreSQL database of the store, in place of a file, as libpq names it:
    /// postgresql://USER:PASSWORD@HOST/DATABASE; needs a binary with the feature postgres
    #[arg(
        long,
        env = "CONVODB_PG_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "PostgreSQL"
    )]
    pub(crate) pg_url: Option<String>,
    /// Address and port to listen on; port 0 chooses a free one
    #[arg(long, env = "CONVODB_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Address and port for /metrics, apart from the API [default: on --listen]
    #[arg(long, env = "CONVODB_METRICS_LISTEN", value_name = "ADDR")]
    pub(crate) metrics_listen: Option<String>,
    /// Base of the URLs in responses, for a server behind a proxy [default: the request's Host if it
    /// names this machine, else URLs are relative]
    #[arg(long, env = "CONVODB_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<PublicUrl>,
    /// Serve generated conversations
    #[arg(long, env = "CONVODB_DEMO", value_parser = BoolishValueParser::new())]
    pub(crate) demo: bool,
    /// Page cache: bytes, or with KiB, MiB, GiB
    #[arg(long, env = "CONVODB_CACHE_BYTES", value_name = "SIZE", default_value = "1GiB")]
    pub(crate) cache_bytes: ByteSize,
    /// Rate limit of each access token, as in 50/s, 600/m or 10000/h [default: unlimited]
    #[arg(long, env = "CONVODB_RATE_LIMIT", value_name = "N/s")]
    pub(crate) rate_limit: Option<RateLimit>,
    /// Origins whose web pages may read responses (CORS), separated by commas, or * for all, as in
    /// https://app.example.com [default: none]
    #[arg(long, env = "CONVODB_CORS_ORIGIN", value_name = "ORIGINS", value_delimiter = ',')]
    pub(crate) cors_origin: Vec<CorsOrigin>,
    /// Refuse parameters that the list does not know, which the reference API ignores
    #[arg(long, env = "CONVODB_STRICT_PARAMETERS", value_parser = BoolishValueParser::new())]
    pub(crate) strict_parameters: bool,
    /// Maximum conversations of each user, unless `convodb user quota` sets another number
    /// [default: unlimited]
    #[arg(long, env = "CONVODB_MAX_CONVERSATIONS_PER_USER", value_name = "N")]
    pub(crate) max_conversations_per_user: Option<u64>,
    /// Maximum bytes that the conversations and messages of each user take, unless `convodb user
    /// quota` sets another number: bytes, or with KiB, MiB, GiB [default: unlimited]
    #[arg(long, env = "CONVODB_MAX_BYTES_PER_USER", value_name = "SIZE")]
    pub(crate) max_bytes_per_user: Option<ByteSize>,
    /// Optional indexes to add to the store, separated by commas: ai-off (for lists with
    /// ai_enabled=false), last-activity (for sort=last_activity), previews (for fields=preview without
    /// reading messages), counters (for exact totals of lists by phone, identifier and
    /// ai_enabled=false); they are built while the store is served. None is dropped: see `convodb
    /// indexes` [default: none, and all with --demo]
    #[arg(long, env = "CONVODB_INDEXES", value_name = "INDEXES")]
    pub(crate) indexes: Option<IndexFamilies>,
    /// Serve no console at /console, only the API
    #[arg(long, env = "CONVODB_NO_CONSOLE", value_parser = BoolishValueParser::new())]
    pub(crate) no_console: bool,
    /// Maximum open connections; for one more, the oldest without a valid token is closed
    #[arg(long, env = "CONVODB_MAX_CONNECTIONS", value_name = "N", default_value = "10000",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// Maximum connections from one address; not behind a proxy [default: unlimited]
    #[arg(long, env = "CONVODB_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections_per_address: Option<u32>,
    /// Requests after which a connection is closed [default: unlimited]
    #[arg(long, env = "CONVODB_MAX_REQUESTS_PER_CONNECTION", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_requests_per_connection: Option<u32>,
    /// Age in seconds at which a connection is closed after its response [default: unlimited]
    #[arg(long, env = "CONVODB_MAX_CONNECTION_AGE", value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_connection_age: Option<u64>,
    /// Maximum memory for request and response bodies: bytes, or with KiB, MiB, GiB; a user may
    /// hold as much of it as is left for the others
    #[arg(long, env = "CONVODB_MAX_BUFFERED_BYTES", value_name = "SIZE", default_value = "256MiB")]
    pub(crate) max_buffered_bytes: ByteSize,
    /// Maximum writes that wait for the disk; of this and the next numbers, a user may hold as many
    /// as are left for the others, and more are answered with 503
    #[arg(long, env = "CONVODB_MAX_WAITING_WRITES", value_name = "N", default_value = "256",
          value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) max_waiting_writes: u32,
    /// Maximum concurrent imports and exports
    #[arg(long, env = "CONVODB_MAX_TRANSFERS", value_name = "N", default_value = "16",
          value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) max_transfers: u32,
    /// Maximum concurrent imports and exports of one user
    #[arg(long, env = "CONVODB_MAX_TRANSFERS_PER_USER", value_name = "N", default_value = "4",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_transfers_per_user: u32,
    /// Maximum requests for statistics that are read or wait for it
    #[arg(long, env = "CONVODB_MAX_STATISTICS", value_name = "N", default_value = "16",
          value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) max_statistics: u32,
    /// Maximum requests that wait for changes
    #[arg(long, env = "CONVODB_MAX_WAITING_POLLS", value_name = "N", default_value = "4096",
          value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) max_waiting_polls: u32,
    /// Maximum streams of change events
    #[arg(long, env = "CONVODB_MAX_EVENT_STREAMS", value_name = "N", default_value = "1024",
          value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) max_event_streams: u32,
    /// Maximum streams of change events of one user
    #[arg(long, env = "CONVODB_MAX_EVENT_STREAMS_PER_USER", value_name = "N", default_value = "128",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_event_streams_per_user: u32,
    /// Timeout for a whole export or a long history, in seconds; until then its snapshot is held, and
    /// space that is freed cannot be reused
    #[arg(long, env = "CONVODB_EXPORT_TIMEOUT", value_name = "SECONDS", default_value = "3600",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) export_timeout: u64,
    /// Memory for responses that are sent again while the user's data is unchanged: bytes, or with
    /// KiB, MiB, GiB; a user takes at most half of it; 0 for none
    #[arg(
        long,
        env = "CONVODB_RESPONSE_CACHE_BYTES",
        value_name = "SIZE",
        default_value = "32MiB"
    )]
    pub(crate) response_cache_bytes: ByteSize,
    /// Minimum bytes per second at which a client reads a response or sends an import, after 30 s;
    /// 0 for none
    #[arg(long, env = "CONVODB_MIN_RATE", value_name = "BYTES", default_value = "4096")]
    pub(crate) min_rate: u32,
    /// Timeout for request headers and for idle connections, in seconds
    #[arg(long, env = "CONVODB_HEAD_TIMEOUT", value_name = "SECONDS", default_value = "10",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) head_timeout: u64,
    /// Timeout for a client that reads nothing of its response, in seconds
    #[arg(long, env = "CONVODB_WRITE_TIMEOUT", value_name = "SECONDS", default_value = "30",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) write_timeout: u64,
    /// Log filter: a level (error, warn, info, debug, trace) or comma-separated target=level pairs;
    /// "info,convodb_http::access=debug" adds a line for each request
    #[arg(long, env = "CONVODB_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
    /// Format of the log on standard error
    #[arg(long, env = "CONVODB_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Unix socket for `convodb backup`, `usage`, `erase`, `user` and `token`; only the server's
    /// system user can open it
    #[arg(long, env = "CONVODB_ADMIN_SOCKET", value_name = "SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// Directory for the backups that are requested over the admin socket
    #[arg(long, env = "CONVODB_BACKUP_DIR", value_name = "DIR")]
    pub(crate) backup_dir: Option<PathBuf>,
    /// Retention of conversations in days from their creation, enforced every hour [default:
    /// unlimited]
    #[arg(long, value_name = "DAYS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,
    /// Retention of the change feed in days
    #[arg(long, value_name = "DAYS", default_value = "30",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_changes: u32,
    /// Confirm a retention pass that is refused because the clock leapt or because it would delete
    /// most conversations: today's date, for which alone it is valid
    #[arg(long, value_name = "DATE")]
    pub(crate) confirm_retention: Option<Day>,
    /// Settings file in TOML
    #[arg(long, env = "CONVODB_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Check the settings, print them with their origin, and exit
    #[arg(long, env = "CONVODB_CHECK_CONFIG", value_parser = BoolishValueParser::new())]
    pub(crate) check_config: bool,
    #[command(flatten)]
    pub(crate) postgres: PostgresFlags,
}

impl Args {
    /// The quota of each user who has no own one.
    pub(crate) fn quota(&self) -> Quota {
        Quota {
            conversations: self.max_conversations_per_user,
            bytes: self.max_bytes_per_user.map(|bytes| bytes.0 as u64),
        }
    }
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line per event, for people
    Text,
    /// One JSON object per line, for programs
    Json,
}
