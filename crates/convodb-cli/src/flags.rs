//! What flags of several verbs are made of: the store, whose data, which conversations, and values
//! as a person writes them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use convodb::{AssistantId, ChannelKind, ExternalIdentifier, Name, Order, Timestamp};

/// The store's file.
#[derive(Debug, Args)]
pub(crate) struct Db {
    /// The store's file
    #[arg(long, env = "CONVODB_DB", value_name = "FILE")]
    pub(crate) db: PathBuf,
}

/// Whose data it is.
#[derive(Debug, Args)]
pub(crate) struct Owner {
    /// The name of the user whose data it is
    #[arg(long, env = "CONVODB_USER", value_name = "NAME")]
    pub(crate) user: Name,
}

/// How a result is printed.
#[derive(Debug, Args)]
pub(crate) struct Json {
    /// Print JSON on standard output, one object a line
    #[arg(long, env = "CONVODB_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}

/// Which conversations are meant. Filters match exactly, in any combination.
#[derive(Debug, Args)]
pub(crate) struct Filters {
    /// Only those of this type
    #[arg(long = "type", env = "CONVODB_TYPE", value_parser = kind_parser())]
    pub(crate) kind: Option<ChannelKind>,
    /// Only those of this assistant, by id or number
    #[arg(long, env = "CONVODB_ASSISTANT", value_name = "ID")]
    pub(crate) assistant: Option<AssistantKey>,
    /// Only those with this customer's phone number
    #[arg(long, env = "CONVODB_CUSTOMER_PHONE", value_name = "PHONE", hide_env_values = true)]
    pub(crate) customer_phone: Option<String>,
    /// Only those over this phone number of the user's
    #[arg(long, env = "CONVODB_SENDER_PHONE", value_name = "PHONE", hide_env_values = true)]
    pub(crate) sender_phone: Option<String>,
    /// Only those with this identifier of the user's own
    #[arg(long, env = "CONVODB_EXTERNAL_IDENTIFIER", value_name = "TEXT")]
    pub(crate) external_identifier: Option<ExternalIdentifier>,
    /// Only those created at this time or later: a date, or RFC 3339
    #[arg(long, env = "CONVODB_FROM", value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// Only those created before this time: a date, or RFC 3339
    #[arg(long, env = "CONVODB_TO", value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
}

/// The two orders by the words of the API.
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

/// An assistant as a person names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssistantKey {
    /// By its UUID.
    Id(AssistantId),
    /// By its number in the assistants list.
    Number(u32),
}

impl FromStr for AssistantKey {
    type Err = convodb::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(AssistantKey::Number(number)),
            _ => text.parse().map(AssistantKey::Id),
        }
    }
}

impl fmt::Display for AssistantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssistantKey::Id(id) => id.fmt(f),
            AssistantKey::Number(number) => number.fmt(f),
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
            _ => Err("must be a number of bytes, or one with KiB, MiB or GiB, as in 64MiB"),
        }
    }
}

/// A value on the command line that only its verb could check.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

fn kind_parser() -> impl TypedValueParser<Value = ChannelKind> {
    PossibleValuesParser::new(ChannelKind::ALL.map(ChannelKind::as_str))
        .try_map(|word| word.parse::<ChannelKind>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
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
    fn assistants_are_named_by_id_or_number() {
        assert_eq!("3".parse::<AssistantKey>().unwrap(), AssistantKey::Number(3));
        let id = "a1b2c3d4-5678-40ab-8def-1234567890ab";
        assert_eq!(id.parse::<AssistantKey>().unwrap().to_string(), id);
        assert!("Support".parse::<AssistantKey>().is_err());
    }
}
