//! `convodb erase`: conversations of a customer, or a user with everything, and then the bytes.

use std::io::{self, BufRead, IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use convodb::{Erased, ExternalIdentifier, Filter, ListRequest, Snapshot, Store, UserId};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::Usage;
use crate::compact::compact;
use crate::console::{counted, progress_style, quoted, say};
use crate::lookup;
use crate::open::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::upkeep::Erase;

/// What was erased, as JSON.
#[derive(Serialize)]
struct Line {
    conversations: u64,
    assistants: u64,
    tokens: u64,
    /// Whether no byte of it is left in the store's files.
    compacted: bool,
}

/// Erases what the flags name, after asking.
pub(crate) fn run(verb: &Erase, out: &mut dyn Write) -> Result<()> {
    let db = &verb.db.db;
    let filter = filter(verb)?;
    let store = existing(db, LARGE_CACHE_BYTES, WhileServed::Stop)?;
    let snapshot = store.snapshot();
    let user = lookup::user(&snapshot, &verb.owner.user, db)?;
    let request = ListRequest { filter, ..ListRequest::default() };
    let count = count(&snapshot, user, &request)?;
    drop(snapshot);
    if count == 0 && !verb.everything {
        say("there is no such conversation; nothing was erased");
    } else if !verb.yes && !confirmed(verb, count)? {
        bail!("nothing was erased");
    }
    let erased = if verb.everything {
        let (bar, follow) = bar(count);
        let erased = store.erase_user(user, follow);
        bar.finish_and_clear();
        erased.context("cannot erase the user; run it again to go on")?
    } else {
        let conversations = delete(&store, user, &request, count)?;
        Erased { conversations, ..Erased::default() }
    };
    store.close()?;
    // Also where nothing was found: an erasure that was broken off may have left bytes.
    if !verb.no_compact {
        compact(db)?;
    }
    tell(verb, &erased, out)
}

fn filter(verb: &Erase) -> Result<Filter> {
    let identifier = verb.external_identifier.as_deref();
    let identifier = identifier.map(str::parse::<ExternalIdentifier>).transpose();
    Ok(Filter {
        customer_phone: lookup::phone("--customer-phone", verb.customer_phone.as_deref())?,
        external_identifier: identifier
            .map_err(|error| anyhow!(Usage(format!("--external-identifier: {error}"))))?,
        ..Filter::default()
    })
}

fn count(snapshot: &Snapshot, user: UserId, request: &ListRequest) -> Result<u64> {
    let mut count = 0;
    for row in snapshot.rows(user, request) {
        row.context("cannot read the store")?;
        count += 1;
    }
    Ok(count)
}

/// Asks at the terminal. A script says --yes.
fn confirmed(verb: &Erase, count: u64) -> Result<bool> {
    let user = &verb.owner.user;
    let conversations = counted(count, "conversation");
    if !io::stdin().is_terminal() {
        let usage = format!(
            "{conversations} of {user} would be erased for good; say --yes where nobody can be asked"
        );
        bail!(Usage(usage));
    }
    let what = match verb.everything {
        true => format!("the user {user} with {conversations}, all assistants and tokens"),
        false => format!("{conversations} of {user}"),
    };
    let word = user.as_str();
    say(format_args!("This erases {what} for good. Type {} to go on:", quoted(word)));
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).context("cannot read the answer")?;
    Ok(typed.trim() == word)
}

fn bar(count: u64) -> (ProgressBar, impl FnMut(u64)) {
    let style = progress_style("{bar:40} {human_pos} of {human_len} erased, {eta} to go");
    let bar = ProgressBar::new(count).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    let told = bar.clone();
    (bar, move |gone| told.set_position(gone))
}

fn delete(store: &Store, user: UserId, request: &ListRequest, count: u64) -> Result<u64> {
    let (bar, mut follow) = bar(count);
    let deleted = store.delete_all(user, request, |gone| {
        follow(gone);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    deleted.context("cannot erase the conversations; run it again to go on")
}

fn tell(verb: &Erase, erased: &Erased, out: &mut dyn Write) -> Result<()> {
    let Erased { conversations, assistants, tokens } = *erased;
    if verb.json.json {
        let compacted = !verb.no_compact;
        let line = Line { conversations, assistants, tokens, compacted };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    let mut what = counted(conversations, "conversation");
    if verb.everything {
        let (assistants, tokens) = (counted(assistants, "assistant"), counted(tokens, "token"));
        what = format!("{what}, {assistants}, {tokens} and the user {}", verb.owner.user);
    }
    let rest = if verb.no_compact {
        "their bytes are in the file until `convodb compact`"
    } else {
        "no byte is left in the store's files; backups and exports are yours to replace"
    };
    say(format_args!("erased {what}; {rest}"));
    Ok(())
}
