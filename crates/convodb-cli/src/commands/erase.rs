//! `convodb erase`: erases a customer's conversations or a whole user, and then the bytes on disk.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::ArgGroup;
use convodb::{
    EraseReport, ErasureScope, ExternalIdentifier, Filter, ListRequest, Name, Snapshot, UserId,
};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::admin_client;
use crate::args::{JsonFlag, StoreOrServer, Target, UsageError, UserOfDeletionFlag};
use crate::commands::compact::compact;
use crate::console::{confirm, counted, now, progress_style, say};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// Erase a customer's conversations, or a user with all data
///
/// Deletes the matching conversations with their messages, index entries and counters; with
/// --everything also the user's assistants, tokens and name. Then compacts the store, so that no
/// byte of them remains in its files. Backups and exports are not changed: replace them yourself.
/// What others wrote about a person in other conversations is not found.
///
/// An erasure that is interrupted is not forgotten: every command warns of it, and the same command
/// or `convodb compact` finishes it.
///
/// A running server erases from its own store: pass its admin socket instead of the file, and the
/// user's name. The bytes then remain in the file until the server is stopped and `convodb compact`
/// is run.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "convodb erase --db <FILE> --user <USER> --customer-phone <PHONE> [OPTIONS]\n       \
                      convodb erase --db <FILE> --user <USER> --external-identifier <TEXT> [OPTIONS]\n       \
                      convodb erase --db <FILE> --user <USER> --everything [OPTIONS]",
    group = ArgGroup::new("what").required(true),
    after_help = "Examples:\n  convodb erase --db chats.convodb --user acme --customer-phone +14155559876\n  \
                  convodb erase --db chats.convodb --user acme --everything"
)]
pub(crate) struct Args {
    #[command(flatten)]
    target: StoreOrServer,
    #[command(flatten)]
    user: UserOfDeletionFlag,
    #[command(flatten)]
    what: EraseFlags,
    /// Do not compact; the bytes remain in the file until `convodb compact` is run
    #[arg(long)]
    no_compact: bool,
    #[command(flatten)]
    json: JsonFlag,
}

/// What to erase: one of the group `what`.
#[derive(Debug, clap::Args)]
pub(crate) struct EraseFlags {
    /// Erase all conversations with this customer's phone number
    #[arg(long, value_name = "PHONE", group = "what")]
    pub(crate) customer_phone: Option<String>,
    /// Erase all conversations with this external identifier
    #[arg(long, value_name = "TEXT", group = "what")]
    pub(crate) external_identifier: Option<String>,
    /// Erase the user with all conversations, assistants and tokens
    #[arg(long, group = "what")]
    pub(crate) everything: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A finished erasure as JSON; also the server's response, without `compacted`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    conversations: u64,
    assistants: u64,
    tokens: u64,
    /// Whether no erased byte remains in the store's files.
    #[serde(default)]
    compacted: bool,
}

impl Line {
    /// What an erasure in this process erased.
    pub(crate) const fn of(erased: EraseReport, compacted: bool) -> Self {
        let EraseReport { conversations, assistants, tokens } = erased;
        Self { conversations, assistants, tokens, compacted }
    }
}

/// Erases what the flags name, after confirmation.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let (phone, identifier) =
        (args.what.customer_phone.as_deref(), args.what.external_identifier.as_deref());
    let filter = customer_filter(phone, identifier)?;
    let line = match args.target.target()? {
        Target::Server(socket) => in_server(args, socket)?,
        Target::File(db) => in_process(args, db, &filter)?,
    };
    print(args, &line, out)
}

fn in_server(args: &Args, socket: &Path) -> Result<Line> {
    require_confirmation(args, &args.user.user, None)?;
    let body = serde_json::json!({
        "user": args.user.user.as_str(),
        "customer_phone": args.what.customer_phone,
        "external_identifier": args.what.external_identifier,
        "everything": args.what.everything,
    });
    let response = admin_client::request(socket, "POST", "/admin/erase", &body.to_string())?;
    serde_json::from_str(&response).context("cannot parse the server's response to the erasure")
}

fn in_process(args: &Args, db: &Path, filter: &Filter) -> Result<Line> {
    let served = WhileServed::Command("convodb erase --admin-socket SOCKET ...");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = match resolve::user(&snapshot, &args.user.user, db) {
        Ok(user) => user,
        // It may be the erased one, whose name is gone.
        Err(not_found) if is_interrupted(&snapshot, args)? => {
            drop(snapshot);
            store.close()?;
            say(format_args!("{not_found:#}; finishing the interrupted erasure"));
            compact(db)?;
            return Ok(Line::of(EraseReport::default(), true));
        }
        Err(error) => return Err(error),
    };
    let request = ListRequest { filter: filter.clone(), ..ListRequest::default() };
    let count = count(&snapshot, user, &request)?;
    let name = snapshot.user(user)?.map_or_else(|| args.user.user.clone(), |user| user.name);
    drop(snapshot);
    if count == 0 && !args.what.everything {
        say("no conversation matches");
    } else {
        require_confirmation(args, &name, Some(count))?;
    }
    let (bar, progress) = bar(count);
    let now = now()?;
    let erased = if args.what.everything {
        store.erase_user_with_progress(user, now, progress)
    } else {
        store
            .erase_conversations_with_progress(user, filter, now, progress)
            .map(|conversations| EraseReport { conversations, ..EraseReport::default() })
    };
    bar.finish_and_clear();
    let erased = erased.context("cannot erase; run the command again to continue")?;
    store.close()?;
    // Even if nothing matched: an interrupted erasure may have left bytes.
    if !args.no_compact {
        compact(db)?;
    }
    Ok(Line::of(erased, !args.no_compact))
}

/// Whether an erasure of a user was interrupted, and this command is to finish one.
fn is_interrupted(snapshot: &Snapshot, args: &Args) -> Result<bool> {
    let unfinished = snapshot.unfinished_erasures().context("cannot read the store")?;
    let any = unfinished.iter().any(|erasure| erasure.scope == ErasureScope::User);
    Ok(any && args.what.everything && !args.no_compact)
}

/// The filter of a customer's conversations.
pub(crate) fn customer_filter(phone: Option<&str>, identifier: Option<&str>) -> Result<Filter> {
    let identifier = identifier.map(str::parse::<ExternalIdentifier>).transpose();
    Ok(Filter {
        customer_phone: resolve::phone("--customer-phone", phone)?,
        external_identifier: identifier
            .map_err(|error| anyhow!(UsageError(format!("--external-identifier: {error}"))))?,
        ..Filter::default()
    })
}

fn count(snapshot: &Snapshot, user: UserId, request: &ListRequest) -> Result<u64> {
    let mut count = 0;
    for row in snapshot.conversations(user, request) {
        row.context("cannot read the store")?;
        count += 1;
    }
    Ok(count)
}

/// Fails unless `--yes` is set or the user's name is typed on the terminal.
fn require_confirmation(args: &Args, user: &Name, count: Option<u64>) -> Result<()> {
    let conversations = match count {
        Some(count) => counted(count, "conversation"),
        None if args.what.everything => "all conversations".to_owned(),
        None => "the matching conversations".to_owned(),
    };
    let action = if args.what.everything {
        format!("erases the user {user} with {conversations}, all assistants and tokens, for good")
    } else {
        format!("erases {conversations} of {user}, for good")
    };
    if args.what.yes || confirm(&action, user.as_str())? {
        return Ok(());
    }
    bail!("not confirmed; nothing was erased")
}

fn bar(count: u64) -> (ProgressBar, impl FnMut(u64)) {
    let style = progress_style("{bar:40} {human_pos} of {human_len} erased, {eta} left");
    let bar = ProgressBar::new(count).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    let shown = bar.clone();
    (bar, move |erased| shown.set_position(erased))
}

fn print(args: &Args, line: &Line, out: &mut dyn Write) -> Result<()> {
    if args.json.json {
        writeln!(out, "{}", serde_json::to_string(line)?)?;
    }
    let mut what = counted(line.conversations, "conversation");
    if args.what.everything {
        let assistants = counted(line.assistants, "assistant");
        let tokens = counted(line.tokens, "token");
        what = format!("{what}, {assistants}, {tokens} and the user {}", args.user.user);
    }
    let rest = if line.compacted {
        "no byte remains in the store's files; replace backups and exports yourself"
    } else {
        "the bytes remain in the file until `convodb compact` is run"
    };
    say(format_args!("erased {what}; {rest}"));
    Ok(())
}
