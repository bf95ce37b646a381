//! What `import` is told of the server that it migrates from.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::BoolishValueParser;
use convodb::Timestamp;
use convodb_http::PublicUrl;

/// The most bytes of a file that holds a token.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Another server of the API, as the source of an import.
#[derive(Debug, Args)]
#[command(next_help_heading = "From another server of the API")]
pub(crate) struct FromApi {
    /// Walk the server at this base URL instead of reading a file
    #[arg(long, env = "CONVODB_FROM_API", value_name = "URL")]
    pub(crate) from_api: Option<PublicUrl>,
    /// The token of its user; others on this machine can see a flag, so rather give the variable or
    /// --token-file
    #[arg(long, env = "CONVODB_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<Token>,
    /// A file that holds the token, or - for standard input; wins over --token
    #[arg(long, env = "CONVODB_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Only conversations created at this time or later: a date, or RFC 3339
    #[arg(long, env = "CONVODB_SINCE", value_name = "TIME")]
    pub(crate) since: Option<Timestamp>,
    /// Bring conversations that are already there up to date, where the server's have changed; without
    /// it they are left as they are
    #[arg(long, env = "CONVODB_UPDATE", value_parser = BoolishValueParser::new())]
    pub(crate) update: bool,
    /// Begin at the first page, whatever an earlier migration has left
    #[arg(long, env = "CONVODB_RESTART", value_parser = BoolishValueParser::new())]
    pub(crate) restart: bool,
    /// How many histories are asked for at a time, 1 to 16
    #[arg(long, env = "CONVODB_PARALLEL", value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) parallel: u8,
}

/// An access token of another server. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Token(String);

impl FromApi {
    /// Whether the import is from a server.
    pub(crate) const fn is_asked_for(&self) -> bool {
        self.from_api.is_some()
    }

    /// The token, from where it was said to be.
    pub(crate) fn token(&self) -> Result<Token> {
        let Some(file) = &self.token_file else {
            return self.token.clone().context(
                "the server wants a token: set CONVODB_TOKEN, or name a file with --token-file",
            );
        };
        let mut text = String::new();
        let read = if file.as_os_str() == "-" {
            io::stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut text)
        } else {
            std::fs::File::open(file)
                .and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text))
        };
        read.with_context(|| format!("cannot read the token in {}", file.display()))?;
        match text.trim().parse() {
            Ok(token) => Ok(token),
            Err(rule) => bail!("the token in {} {rule}", file.display()),
        }
    }
}

impl Token {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(text.to_owned())),
            false => Err("must be of visible ASCII characters"),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token(..)")
    }
}
