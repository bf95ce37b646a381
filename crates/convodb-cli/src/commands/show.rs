//! `convodb show`: one conversation with its messages.

use std::io::Write;

use anyhow::{Result, anyhow};
use convodb::{Channel, Contact, Conversation, ConversationId, MessageIter, Name, Phone};
use convodb_json::{AssistantNames, ExportLines};

use crate::args::{DbFlag, JsonFlag, UserFlag};
use crate::console::printable;
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// Bytes of a line that are printed at a time.
const PART_BYTES: usize = 64 << 10;

/// Show one conversation with its messages
///
/// With --json, prints the line that `convodb export --messages` writes for it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: convodb show --db chats.convodb --user acme \
                        7c9e6679-7425-40de-944b-e07fc1f90ae7")]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    user: UserFlag,
    /// Id of the conversation
    #[arg(value_name = "ID")]
    id: ConversationId,
    #[command(flatten)]
    json: JsonFlag,
}

/// Prints the conversation.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let (db, id) = (&args.db.db, args.id);
    let served = WhileServed::Request("GET /api/conversations/UUID");
    let store = existing(db, SMALL_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, &args.user.user, db)?;
    let found = snapshot.conversation(user, id)?.zip(snapshot.message_iter(user, id)?);
    let (conversation, messages) = found.ok_or_else(|| not_found(args))?;
    // A history may be far longer than memory: it is read and printed in parts.
    if args.json.json {
        let mut lines = ExportLines::of_one(snapshot, user, conversation);
        let (mut part, mut has_more) = (Vec::new(), true);
        while has_more {
            has_more = lines.fill(&mut part, PART_BYTES)?;
            out.write_all(&part)?;
            part.clear();
        }
    } else {
        let mut names = AssistantNames::new(snapshot, user);
        write_fields(out, &conversation, names.name(conversation.assistant)?)?;
        write_messages(out, messages)?;
    }
    Ok(store.close()?)
}

fn not_found(args: &Args) -> anyhow::Error {
    anyhow!(
        "conversation {} not found; `convodb list`, with the same --db and --user, lists the user's \
         conversations",
        args.id
    )
}

fn write_fields(out: &mut dyn Write, row: &Conversation, assistant: &str) -> Result<()> {
    let ai = if row.ai_enabled { "on" } else { "off" };
    let mut fields = vec![
        ("id", row.id.to_string()),
        ("type", row.channel.kind().to_string()),
        ("created", format!("{} UTC", row.created_at)),
        ("updated", format!("{} UTC", row.updated_at)),
        ("assistant", format!("{assistant} ({})", row.assistant)),
    ];
    match &row.channel {
        Channel::Whatsapp { sender, customer } => {
            fields.push(("sender", contact(sender)));
            fields.push(("customer", contact(customer)));
        }
        Channel::Api { external_identifier: Some(identifier) } => {
            fields.push(("identifier", identifier.to_string()));
        }
        Channel::Api { external_identifier: None } | Channel::Test | Channel::Widget => {}
    }
    fields.push(("messages", row.message_count.to_string()));
    fields.push(("cost", format!("{} USD", row.total_cost)));
    fields.push(("ai", ai.to_owned()));
    if let Some(variables) = &row.variables {
        fields.push(("variables", variables.as_str().to_owned()));
    }
    for (name, value) in fields {
        writeln!(out, "{}", format!("{name:<12}{}", printable(&value)).trim_end())?;
    }
    Ok(())
}

fn contact(contact: &Contact) -> String {
    let Contact { name, phone } = contact;
    let parts = [phone.as_ref().map(Phone::as_str), name.as_ref().map(Name::as_str)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Each message under a line with its time and role, indented.
fn write_messages(out: &mut dyn Write, messages: MessageIter) -> Result<()> {
    for message in messages {
        let message = message?;
        writeln!(out, "\n{}  {}", message.created_at(), message.role().as_str())?;
        for line in message.content().lines() {
            writeln!(out, "    {}", printable(line))?;
        }
        if let Some(calls) = message.function_calls() {
            writeln!(out, "    function calls: {}", printable(calls))?;
        }
    }
    Ok(())
}
