//! Command-line flags that several verbs share, and values as a person types them.
//!
//! A flag has an environment variable, `CONVODB_` with the flag's name; the flag wins. Where verbs
//! give a name different meanings, the variable has the verb's name, too: `CONVODB_BACKUP_TO`. A
//! flag that chooses what is deleted has no variable, because one that was left in the environment
//! would choose unseen. A test lists all of them. Phone numbers and tokens are taken as plain text and checked by their verb, because the message of a
//! parser would repeat the value that it refuses.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use convodb::{
    AssistantRef, ChannelKind, ExternalIdentifier, ListRequest, Name, Order, Sort, Timestamp,
};

/// `--db`: the file of a store.
#[derive(Debug, Args)]
pub(crate) struct DbFlag {
    /// File of the store
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    pub(crate) db: PathBuf,
}

/// `--db` or `--admin-socket`: a store that this process opens, or the server that has it open.
#[derive(Debug, Args)]
pub(crate) struct StoreOrServer {
    /// File of the store, which no server may have open
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// Admin socket of the server that has the store open; wins over --db
    #[arg(long, env = "CONVODB_ADMIN_SOCKET", value_name = "SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
}

/// Where a verb runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// In this process, on the store in this file.
    File(&'a Path),
    /// In the server that listens on this admin socket.
    Server(&'a Path),
}

impl StoreOrServer {
    /// The store or the server that the flags name.
    ///
    /// # Errors
    /// Fails if neither flag is set.
    pub(crate) fn target(&self) -> Result<Target<'_>, UsageError> {
        match (&self.admin_socket, &self.db) {
            (Some(socket), _) => Ok(Target::Server(socket)),
            (None, Some(db)) => Ok(Target::File(db)),
            (None, None) => Err(UsageError(
                "--db FILE is required, or --admin-socket SOCKET of the server".to_owned(),
            )),
        }
    }
}

/// `--user`: the user whose data a verb reads or changes.
#[derive(Debug, Args)]
pub(crate) struct UserFlag {
    /// Name or number of the user; a name wins over a number
    #[arg(long, env = "CONVODB_USER", value_name = "USER")]
    pub(crate) user: Name,
}

/// `--user` of a verb that deletes: without a variable, because it chooses what is deleted.
#[derive(Debug, Args)]
pub(crate) struct UserOfDeletionFlag {
    /// Name or number of the user; a name wins over a number
    #[arg(long, value_name = "USER")]
    pub(crate) user: Name,
}

/// `--json`: JSON instead of text.
#[derive(Debug, Args)]
pub(crate) struct JsonFlag {
    /// Print JSON on standard output, one object per line
    #[arg(long, env = "CONVODB_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}

/// `--type` and `--assistant`: the filters that counters know, too.
#[derive(Debug, Args)]
pub(crate) struct GroupFilterFlags {
    /// Only conversations of these types, separated by commas or given one by one
    #[arg(
        long = "type",
        env = "CONVODB_TYPE",
        value_name = "TYPE",
        value_delimiter = ',',
        value_parser = kind_parser()
    )]
    pub(crate) kinds: Vec<ChannelKind>,
    /// Only conversations of these assistants, up to 20: by id, or by number in `convodb assistant
    /// list`, separated by commas or given one by one
    #[arg(long = "assistant", env = "CONVODB_ASSISTANT", value_name = "ID", value_delimiter = ',')]
    pub(crate) assistants: Vec<AssistantRef>,
}

/// Filters of a list. They match exactly, in any combination.
#[derive(Debug, Args)]
pub(crate) struct FilterFlags {
    #[command(flatten)]
    pub(crate) group: GroupFilterFlags,
    /// Only conversations with this customer's phone number
    #[arg(long, env = "CONVODB_CUSTOMER_PHONE", value_name = "PHONE", hide_env_values = true)]
    pub(crate) customer_phone: Option<String>,
    /// Only conversations over this phone number of the user
    #[arg(long, env = "CONVODB_SENDER_PHONE", value_name = "PHONE", hide_env_values = true)]
    pub(crate) sender_phone: Option<String>,
    /// Only conversations with this external identifier
    #[arg(long, env = "CONVODB_EXTERNAL_IDENTIFIER", value_name = "TEXT")]
    pub(crate) external_identifier: Option<ExternalIdentifier>,
    /// Only conversations whose AI is off; needs the index ai-off (`convodb indexes add ai-off`)
    #[arg(long, env = "CONVODB_AI_OFF", value_parser = BoolishValueParser::new())]
    pub(crate) ai_off: bool,
    /// Only conversations created at this time or later: a date (UTC) or RFC 3339
    #[arg(long, env = "CONVODB_FROM", value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// Only conversations created at this time or earlier, including all of the day or second that
    /// it names
    #[arg(long, env = "CONVODB_TO", value_name = "TIME", value_parser = Timestamp::parse_end)]
    pub(crate) to: Option<Timestamp>,
    /// Time that sorts the list; last-activity needs the index of that name (`convodb indexes add
    /// last-activity`) [default: created-at]
    #[arg(long, env = "CONVODB_SORT")]
    pub(crate) sort: Option<SortWord>,
    /// With --sort last-activity, only conversations whose last message or change was at this time
    /// or later: a date (UTC) or RFC 3339
    #[arg(long, env = "CONVODB_ACTIVE_FROM", value_name = "TIME")]
    pub(crate) active_from: Option<Timestamp>,
    /// With --sort last-activity, only conversations whose last message or change was at this time
    /// or earlier, including all of the day or second that it names
    #[arg(
        long,
        env = "CONVODB_ACTIVE_TO",
        value_name = "TIME",
        value_parser = Timestamp::parse_end
    )]
    pub(crate) active_to: Option<Timestamp>,
}

impl FilterFlags {
    /// A list with these bounds, sorted like this, without a filter.
    pub(crate) fn unfiltered(&self) -> ListRequest {
        ListRequest {
            created_from: self.from,
            created_to: self.to,
            sort: self.sort.map(Into::into),
            active_from: self.active_from,
            active_to: self.active_to,
            ..ListRequest::default()
        }
    }
}

/// The two times that sort a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortWord {
    /// Time of creation
    #[value(alias = "created_at")]
    CreatedAt,
    /// Time of the newest message or of a later change: without filter, or by type, assistant, both,
    /// sender or customer
    #[value(alias = "last_activity")]
    LastActivity,
}

impl From<SortWord> for Sort {
    fn from(word: SortWord) -> Self {
        match word {
            SortWord::CreatedAt => Sort::CreatedAt,
            SortWord::LastActivity => Sort::LastActivity,
        }
    }
}

/// The two orders, by the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrderWord {
    /// Newest first
    Desc,
    /// Oldest first
    Asc,
}

impl From<OrderWord> for Order {
    fn from(word: OrderWord) -> Self {
        match word {
            OrderWord::Desc => Order::Descending,
            OrderWord::Asc => Order::Ascending,
        }
    }
}

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) usize);

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        let (digits, unit) = units
            .iter()
            .find_map(|(suffix, bytes)| Some((text.strip_suffix(suffix)?, *bytes)))
            .unwrap_or((text, 1));
        let bytes = digits.trim_end().parse::<usize>().ok().and_then(|n| n.checked_mul(unit));
        match bytes {
            Some(bytes) if bytes > 0 => Ok(ByteSize(bytes)),
            _ => Err("must be a number of bytes, or a number with KiB, MiB or GiB, as in 64MiB"),
        }
    }
}

/// A wrong command line that only the verb could detect; the exit status is 2.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

fn kind_parser() -> impl TypedValueParser<Value = ChannelKind> {
    PossibleValuesParser::new(ChannelKind::ALL.map(ChannelKind::as_str))
        .try_map(|word| word.parse::<ChannelKind>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        #[track_caller]
        fn check(text: &str, expected: Option<usize>) {
            assert_eq!(text.parse::<ByteSize>().ok().map(|size| size.0), expected, "{text}");
        }
        check("1", Some(1));
        check("64MiB", Some(64 << 20));
        check("2 KiB", Some(2048));
        check("0", None);
        check("64MB", None);
        check("-1", None);
        check("99999999999GiB", None);
        check("", None);
    }

    #[test]
    fn an_admin_socket_wins_over_a_file() {
        let target = |db: Option<&str>, socket: Option<&str>| {
            let flags = StoreOrServer {
                db: db.map(PathBuf::from),
                admin_socket: socket.map(PathBuf::from),
            };
            flags.target().map(|target| format!("{target:?}")).map_err(|error| error.to_string())
        };
        assert_eq!(target(Some("a"), None).unwrap(), "File(\"a\")");
        assert_eq!(target(Some("a"), Some("b")).unwrap(), "Server(\"b\")");
        assert!(target(None, None).unwrap_err().contains("--db FILE is required"));
    }
}
