//! `convodb erase`: conversations of a customer, or a user with everything, and then the bytes.

use std::io::{self, BufRead, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use convodb::{Erased, ExternalIdentifier, Filter, ListRequest, Snapshot, Store, UserId};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::admin_client;
use crate::args::Usage;
use crate::commands::compact::compact;
use crate::console::{counted, progress_style, quoted, say};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::resolve;
use crate::upkeep::Erase;

/// What was erased, as JSON: what the server answers, too, but for the last.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    conversations: u64,
    assistants: u64,
    tokens: u64,
    /// Whether no byte of it is left in the store's files.
    #[serde(default)]
    compacted: bool,
}

/// Erases what the flags name, after asking.
pub(crate) fn run(verb: &Erase, out: &mut dyn Write) -> Result<()> {
    let filter = filter(verb)?;
    let line = match (&verb.admin_socket, &verb.db) {
        (Some(socket), _) => served(verb, socket)?,
        (None, Some(db)) => own(verb, db, filter)?,
        (None, None) => {
            let usage = "--db FILE is needed, or --admin-socket SOCKET of the server";
            bail!(Usage(usage.to_owned()));
        }
    };
    tell(verb, &line, out)
}

fn served(verb: &Erase, socket: &Path) -> Result<Line> {
    if !verb.yes && !confirmed(verb, None)? {
        bail!("nothing was erased");
    }
    let body = serde_json::json!({
        "user": verb.owner.user.as_str(),
        "customer_phone": verb.customer_phone,
        "external_identifier": verb.external_identifier,
        "everything": verb.everything,
    });
    let answer = admin_client::ask(socket, "POST", "/admin/erase", &body.to_string())?;
    serde_json::from_str(&answer).context("the server's answer is not one of an erasure")
}

fn own(verb: &Erase, db: &Path, filter: Filter) -> Result<Line> {
    let served = WhileServed::Command("convodb erase --admin-socket SOCKET ...");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, &verb.owner.user, db)?;
    let request = ListRequest { filter, ..ListRequest::default() };
    let count = count(&snapshot, user, &request)?;
    drop(snapshot);
    if count == 0 && !verb.everything {
        say("there is no such conversation");
    } else if !verb.yes && !confirmed(verb, Some(count))? {
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
    let Erased { conversations, assistants, tokens } = erased;
    Ok(Line { conversations, assistants, tokens, compacted: !verb.no_compact })
}

fn filter(verb: &Erase) -> Result<Filter> {
    let identifier = verb.external_identifier.as_deref();
    let identifier = identifier.map(str::parse::<ExternalIdentifier>).transpose();
    Ok(Filter {
        customer_phone: resolve::phone("--customer-phone", verb.customer_phone.as_deref())?,
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
fn confirmed(verb: &Erase, count: Option<u64>) -> Result<bool> {
    let user = &verb.owner.user;
    let conversations = match count {
        Some(count) => counted(count, "conversation"),
        None if verb.everything => "all conversations".to_owned(),
        None => "conversations".to_owned(),
    };
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

fn tell(verb: &Erase, line: &Line, out: &mut dyn Write) -> Result<()> {
    if verb.json.json {
        writeln!(out, "{}", serde_json::to_string(line)?)?;
    }
    let mut what = counted(line.conversations, "conversation");
    if verb.everything {
        let assistants = counted(line.assistants, "assistant");
        let tokens = counted(line.tokens, "token");
        what = format!("{what}, {assistants}, {tokens} and the user {}", verb.owner.user);
    }
    let rest = if line.compacted {
        "no byte is left in the store's files; backups and exports are yours to replace"
    } else {
        "the bytes are in the file until `convodb compact`"
    };
    say(format_args!("erased {what}; {rest}"));
    Ok(())
}
