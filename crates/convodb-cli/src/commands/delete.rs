//! `convodb delete`: deletes one conversation.

use anyhow::{Result, anyhow, bail};
use convodb::ConversationId;

use crate::args::{DbFlag, UserOfDeletionFlag};
use crate::console::{confirm, counted, say};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// Delete one conversation with its messages
///
/// Its bytes may remain in the file until `convodb compact` is run; `convodb erase` deletes by
/// phone number or identifier and compacts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: convodb delete --db chats.convodb --user acme \
                        7c9e6679-7425-40de-944b-e07fc1f90ae7")]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    user: UserOfDeletionFlag,
    /// Id of the conversation
    #[arg(value_name = "ID")]
    id: ConversationId,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Deletes the conversation, after confirmation.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (db, id) = (&args.db.db, args.id);
    let served = WhileServed::Request("DELETE /api/conversations/UUID");
    let store = existing(db, SMALL_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, &args.user.user, db)?;
    let found = snapshot.conversation(user, id)?;
    drop(snapshot);
    let conversation = found.ok_or_else(|| anyhow!("conversation {id} not found"))?;
    let messages = counted(conversation.message_count.into(), "message");
    let action = format!(
        "deletes the {} conversation {id} of {} with {messages}",
        conversation.channel.kind(),
        conversation.created_at
    );
    if !args.yes && !confirm(&action, "yes")? {
        bail!("not confirmed; nothing was deleted");
    }
    store.delete(user, id)?;
    store.close()?;
    say(format_args!("deleted the conversation {id} with {messages}"));
    Ok(())
}
