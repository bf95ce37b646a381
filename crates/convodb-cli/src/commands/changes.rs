//! `convodb changes`: the change feed of a user as JSON lines, from a store or a running server.
//!
//! Following needs a server: only one process can have a store's file open, so nothing could change
//! while this command reads it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::builder::BoolishValueParser;
use convodb::{Change, ChangesSince, Error, Name, PageSize, Snapshot, UserId};
use convodb_json::{AssistantNames, write_item};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::args::UsageError;
use crate::import_api::client::{ApiError, Client, RetryPolicy, ServerFlags};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

const PATH: &str = "/api/user/conversations/changes";
/// Maximum changes of a part.
const PER_PAGE: &str = "100";
/// Seconds that the server waits for a change before it answers with none.
const WAIT_SECONDS: &str = "30";
const MAX_RESPONSE_BYTES: u64 = 64 << 20;

/// Print the changes of a user's conversations as JSON lines, oldest first
///
/// Each line has the kind of the `change` (created, updated, deleted), the `id`, and the
/// `conversation` as it is now, or null if it was deleted. After each part, a line with a `cursor`
/// says where to continue. Several changes of one conversation may be merged into one, so store
/// or remove the conversation whatever the kind says.
///
/// Reads a store's file, or a running server with --from-api and a token. With --follow, waits for
/// further changes until Ctrl-C; if the server cannot be reached, retries for about two minutes.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "convodb changes --db <FILE> --user <USER> [--since <CURSOR>]\n       \
                      convodb changes --from-api <URL> [--since <CURSOR>] [--follow]",
    after_help = "Example: convodb changes --from-api http://127.0.0.1:8080 --token-file token \
                  --since now --follow"
)]
pub(crate) struct Args {
    /// File of the store, which no server may have open
    #[arg(long, env = "CONVODB_DB", value_name = "FILE", required_unless_present = "from_api")]
    db: Option<PathBuf>,
    /// Name or number of the user; a name wins over a number
    #[arg(long, env = "CONVODB_USER", value_name = "USER", required_unless_present = "from_api")]
    user: Option<Name>,
    /// Start after this cursor, or at `beginning` or `now`
    #[arg(long, env = "CONVODB_CHANGES_SINCE", value_name = "CURSOR", default_value = "beginning")]
    since: String,
    /// Wait for further changes; needs --from-api
    #[arg(long, env = "CONVODB_FOLLOW", value_parser = BoolishValueParser::new())]
    follow: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// Where to continue, as JSON.
#[derive(Serialize)]
struct CursorLine<'a> {
    cursor: &'a str,
}

/// Prints the feed.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    if args.server.is_given() {
        return from_server(args, out);
    }
    if args.follow {
        bail!(UsageError(
            "--follow needs --from-api URL of a running server: nothing else can change a store \
             while this command has it open"
                .to_owned()
        ));
    }
    let (Some(db), Some(user)) = (&args.db, &args.user) else {
        bail!(UsageError("--db FILE and --user USER are required, or --from-api URL".to_owned()));
    };
    from_file(db, user, &args.since, out)
}

fn from_file(db: &Path, user: &Name, since: &str, out: &mut dyn Write) -> Result<()> {
    let served = WhileServed::Request("GET /api/user/conversations/changes");
    let store = existing(db, SMALL_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, user, db)?;
    let mut since = parse_since(&snapshot, user, since)?;
    let mut names = AssistantNames::new(snapshot.clone(), user);
    loop {
        let part = snapshot.changes_since(user, since, PageSize::MAX).map_err(explain)?;
        for change in &part.changes {
            write_change(out, change, &mut names)?;
        }
        write_cursor(out, &snapshot.seal_change_cursor(&part.next_cursor))?;
        if !part.has_more {
            break;
        }
        since = ChangesSince::Cursor(part.next_cursor);
    }
    Ok(store.close()?)
}

fn parse_since(snapshot: &Snapshot, user: UserId, since: &str) -> Result<ChangesSince> {
    match since {
        "beginning" => Ok(ChangesSince::Beginning),
        "now" => Ok(ChangesSince::Now),
        cursor => match snapshot.open_change_cursor(user, cursor) {
            Ok(cursor) => Ok(ChangesSince::Cursor(cursor)),
            Err(error) => Err(explain(error)),
        },
    }
}

fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::InvalidCursor => anyhow!(UsageError(
            "--since must be beginning, now, or a cursor that the feed of the same user and store \
             printed"
                .to_owned()
        )),
        Error::ChangesExpired => expired(),
        error => anyhow!(error).context("cannot read the changes"),
    }
}

fn expired() -> anyhow::Error {
    anyhow!(
        "the changes after this cursor have expired; read the cursor of --since now, then the whole \
         list, then continue from that cursor"
    )
}

/// Writes a change as the API's feed shows it.
fn write_change(out: &mut dyn Write, change: &Change, names: &mut AssistantNames) -> Result<()> {
    let (kind, id) = (change.kind.as_str(), change.id);
    let mut line =
        format!("{{\"change\":\"{kind}\",\"id\":\"{id}\",\"conversation\":").into_bytes();
    match &change.conversation {
        Some(row) => write_item(&mut line, &row.borrowed(), names.name(row.assistant)?),
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b"}\n");
    Ok(out.write_all(&line)?)
}

fn write_cursor(out: &mut dyn Write, cursor: &str) -> Result<()> {
    Ok(writeln!(out, "{}", serde_json::to_string(&CursorLine { cursor })?)?)
}

/// A response of the server, as far as this verb reads it.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    next_cursor: String,
    has_more: bool,
}

fn from_server(args: &Args, out: &mut dyn Write) -> Result<()> {
    let client = args.server.client(RetryPolicy::default())?;
    let mut cursor = match args.since.as_str() {
        "beginning" => None,
        cursor => Some(cursor.to_owned()),
    };
    loop {
        let mut query = vec![("per_page", PER_PAGE)];
        query.extend(args.follow.then_some(("wait", WAIT_SECONDS)));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let body = get(&client, &query)?;
        let part: Part<'_> =
            serde_json::from_slice(&body).context("cannot parse the server's changes")?;
        for change in &part.data {
            writeln!(out, "{}", change.get())?;
        }
        // An empty part at the same place says nothing new.
        if !part.data.is_empty() || cursor.as_ref() != Some(&part.next_cursor) {
            write_cursor(out, &part.next_cursor)?;
            out.flush()?;
        }
        if !part.has_more && !args.follow {
            return Ok(());
        }
        cursor = Some(part.next_cursor);
    }
}

fn get(client: &Client, query: &[(&str, &str)]) -> Result<Vec<u8>> {
    client.get(PATH, query, MAX_RESPONSE_BYTES).map_err(|error| match error {
        ApiError::Refused { status: 410, .. } => expired(),
        ApiError::Refused { status: 422, .. } => explain(Error::InvalidCursor),
        error => anyhow!(error).context("cannot follow the server's changes"),
    })
}
