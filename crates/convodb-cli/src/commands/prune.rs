//! `convodb prune`: deletes conversations older than a number of days.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::{Context, Result, bail};
use convodb::{Day, Name, Timestamp};
use serde::Serialize;

use crate::args::{DbFlag, JsonFlag};
use crate::console::{counted, now, say};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::resolve;
use crate::serve::retention::{CONFIRM, cutoff, delete_before, is_confirmed};

/// Delete conversations created more than a number of days ago
///
/// Deletes the oldest first, in writes of bounded size. `convodb serve --keep DAYS` does the same
/// while it serves. The freed space stays in the file for reuse until `convodb compact` is run.
///
/// Refuses to delete more than ten conversations if they are more than half of a user's or of the
/// store's, unless it was run within the last two days; and to delete any if the clock is more than
/// 35 days ahead of the last run, or more than a day behind it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: convodb prune --db chats.convodb --keep 365")]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    what: PruneFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// What to delete.
#[derive(Debug, clap::Args)]
pub(crate) struct PruneFlags {
    /// Retention period in days, from the creation of a conversation
    #[arg(long, value_name = "DAYS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: u32,
    /// Only conversations of this user, by name or number [default: all users]
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<Name>,
    /// Confirm what is refused because the clock leapt or because most conversations would be
    /// deleted: today's date
    #[arg(long, value_name = "DATE")]
    pub(crate) confirm_retention: Option<Day>,
}

/// What was deleted, as JSON.
#[derive(Serialize)]
struct Line {
    conversations: u64,
    created_before: String,
}

/// Deletes expired conversations.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let db = &args.db.db;
    let served = WhileServed::ServerFlag("--keep DAYS");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let users = match &args.what.user {
        Some(name) => vec![resolve::user(&snapshot, name, db)?],
        None => snapshot.users()?.into_iter().map(|user| user.id).collect(),
    };
    let now = now()?;
    let before = cutoff(now, args.what.keep);
    let doubt = snapshot.doubt_retention(&users, now, Some(before));
    drop(snapshot);
    if let Some(doubt) = doubt.context("cannot read the store")?
        && !is_confirmed(args.what.confirm_retention, now)
    {
        bail!("nothing was deleted: {doubt}; {CONFIRM}");
    }
    // A pass over one user says nothing about the others.
    let of_all = args.what.user.is_none().then_some(before);
    store.begin_retention(now, of_all).context("cannot write to the store")?;
    let mut conversations = 0;
    for user in users {
        conversations += delete_before(&store, user, before, || ControlFlow::Continue(()))
            .context("cannot delete conversations; run the command again to continue")?;
    }
    store.close()?;
    print(conversations, before, &args.json, out)
}

/// Prints how many conversations created before a time were deleted.
pub(crate) fn print(
    conversations: u64,
    before: Timestamp,
    json: &JsonFlag,
    out: &mut dyn Write,
) -> Result<()> {
    if json.json {
        let line = Line { conversations, created_before: before.to_rfc3339() };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    let what = counted(conversations, "conversation");
    say(format_args!("deleted {what} created before {before} UTC"));
    Ok(())
}
