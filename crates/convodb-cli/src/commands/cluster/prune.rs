//! `convodb cluster prune`: deletes conversations older than a number of days.

use std::io::Write;

use anyhow::{Context, Result, bail};
use convodb::{ListRequest, Retention};

use crate::args::JsonFlag;
use crate::commands::cluster::database::{DatabaseFlags, find_user};
use crate::commands::prune::{PruneFlags, print};
use crate::console::now;
use crate::serve::retention::{CONFIRM, cutoff, is_confirmed};

/// Delete conversations created more than a number of days ago from the store in the database
///
/// Deletes the oldest first, in transactions of bounded size; other clients read and write
/// meanwhile. Also removes changes of the feed that are older than 30 days and idempotency records
/// that are older than a day, as a server does with a file. Refuses what `convodb prune` refuses.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: convodb cluster prune --pg-url postgresql://convodb@db1/convodb \
                        --keep 365")]
pub(crate) struct Args {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    what: PruneFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// Deletes expired conversations.
pub(crate) async fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let cluster = args.database.open().await?;
    let users = match &args.what.user {
        Some(name) => vec![find_user(&cluster, name).await?],
        None => cluster.users().await?.into_iter().map(|account| account.user.id).collect(),
    };
    let now = now()?;
    let before = cutoff(now, args.what.keep);
    if let Some(doubt) = cluster.doubt_retention(&users, now, Some(before)).await?
        && !is_confirmed(args.what.confirm_retention, now)
    {
        bail!("nothing was deleted: {doubt}; {CONFIRM}");
    }
    // A pass over one user says nothing about the others.
    cluster.begin_retention(now, args.what.user.is_none().then_some(before)).await?;
    let expired = ListRequest { created_to: Some(before), ..ListRequest::default() };
    let mut conversations = 0;
    for user in users {
        let deleted = cluster.delete_all(user, &expired).await;
        conversations +=
            deleted.context("cannot delete conversations; run the command again to continue")?;
    }
    let expired = cluster.expire(now, Retention::default()).await;
    expired.context("cannot remove old changes; run the command again to continue")?;
    print(conversations, before, &args.json, out)
}
