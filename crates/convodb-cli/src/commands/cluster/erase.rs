//! `convodb cluster erase`: erases a customer's conversations or a whole user.

use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::ArgGroup;
use convodb::{EraseReport, ListRequest, Name};

use crate::args::{JsonFlag, UserOfDeletionFlag};
use crate::commands::cluster::database::{DatabaseFlags, find_user};
use crate::commands::erase::{EraseFlags, Line, customer_filter};
use crate::console::{confirm, counted, say};

/// Erase a customer's conversations, or a user with all data, from the store in the database
///
/// Deletes in transactions of bounded size; other clients read and write meanwhile. An erasure that
/// is interrupted is continued by the same command. The bytes remain in the database until it has
/// vacuumed and overwritten them, and in its WAL archive and backups: replace those yourself.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    user: UserOfDeletionFlag,
    #[command(flatten)]
    what: EraseFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// Erases what the flags name, after confirmation.
pub(crate) async fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let named = &args.user.user;
    if args.what.everything {
        return user(&args.database, named, args.what.yes, &args.json, out).await;
    }
    let (phone, identifier) =
        (args.what.customer_phone.as_deref(), args.what.external_identifier.as_deref());
    let request = ListRequest::new().filter(customer_filter(phone, identifier)?);
    let cluster = args.database.open().await?;
    let user = find_user(&cluster, named).await?;
    let count = cluster.count(user, &request).await?;
    let least = if count.is_exact { "" } else { "at least " };
    let action = format!(
        "erases {least}{} of {named}, for good",
        counted(count.conversations, "conversation")
    );
    if !args.what.yes && !confirm(&action, named.as_str())? {
        bail!("not confirmed; nothing was erased");
    }
    let conversations = cluster.delete_all(user, &request).await;
    let conversations = conversations.context("cannot erase; run the command again to continue")?;
    let erased = EraseReport { conversations, ..EraseReport::default() };
    print(erased, &counted(conversations, "conversation"), &args.json, out)
}

/// Erases a user with everything, after confirmation.
pub(crate) async fn user(
    database: &DatabaseFlags,
    named: &Name,
    yes: bool,
    json: &JsonFlag,
    out: &mut dyn Write,
) -> Result<()> {
    let cluster = database.open().await?;
    let user = find_user(&cluster, named).await?;
    let action = format!(
        "erases the user {named} with all conversations, all assistants and tokens, for good"
    );
    if !yes && !confirm(&action, named.as_str())? {
        bail!("not confirmed; nothing was erased");
    }
    let erased = cluster.erase_user(user).await;
    let erased = erased.context("cannot erase; run the command again to continue")?;
    let what = format!(
        "{}, {}, {} and the user {named}",
        counted(erased.conversations, "conversation"),
        counted(erased.assistants, "assistant"),
        counted(erased.tokens, "token")
    );
    print(erased, &what, json, out)
}

fn print(erased: EraseReport, what: &str, json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
    if json.json {
        writeln!(out, "{}", serde_json::to_string(&Line::of(erased, false))?)?;
    }
    say(format_args!(
        "erased {what}; the bytes remain in the database until it has vacuumed and overwritten them"
    ));
    Ok(())
}
