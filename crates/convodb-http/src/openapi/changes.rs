//! The feed of changes.

use convodb::{ChangeKind, PageSize};
use serde_json::{Value, json};
use utoipa::openapi::{HttpMethod, OneOfBuilder};

use crate::openapi::builders::{
    Shape, always, any_text, boolean, integer, list, named, null, object, text, uuid, word,
};
use crate::openapi::endpoint::{Body, Endpoint};
use crate::openapi::error_responses::Refusal;
use crate::openapi::{CONVERSATIONS, examples};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let changes = Endpoint::new(
        HttpMethod::Get,
        "/api/user/conversations/changes",
        CONVERSATIONS,
        "listChanges",
        "Follow what changes",
    )
    .tells(
        "What was created, changed or deleted since a cursor, in the order in which it was \
         committed; nothing is left out and nothing told twice, whatever is written meanwhile. To \
         begin a copy: take the cursor of `cursor=now`, read the list or an export, then follow \
         from that cursor.",
    );
    let (least, most) = (PageSize::MIN.get() as u64, PageSize::MAX.get() as u64);
    let mut size = integer("The most changes to look at", least..=most);
    size.default = Some(json!(most));
    let mut wait = integer("Where there is nothing yet, for how many seconds to wait", 0..=60);
    wait.default = Some(json!(0));
    let cursor = "The `next_cursor` of an answer; `now` for the present end; the beginning if none";
    let changes = changes
        .query("cursor", text(cursor, 0..=255), None)
        .query("per_page", size, None)
        .query("wait", wait, None)
        .or(Refusal::Forgotten)
        .answers("A part of the feed", part(), Body::one(example()));
    vec![changes]
}

fn part() -> Shape {
    let kinds = ChangeKind::ALL.map(ChangeKind::as_str);
    let told = "Deleted whatever was before; else created, if that is in this part, or updated";
    let now = OneOfBuilder::new().item(named("Conversation")).item(null("It was deleted"));
    let change = object(
        "What happened to one conversation",
        [
            always("change", word(told, kinds)),
            always("id", uuid("The conversation's id")),
            always("conversation", now),
        ],
    );
    object(
        "Each conversation that changed, once, in the order of its last change",
        [
            always("data", list("", change)),
            always("per_page", integer("", 1..=100)),
            always("next_cursor", any_text("Where the feed goes on; never null")),
            always("has_more", boolean("Whether there is more already")),
        ],
    )
    .into()
}

fn example() -> Value {
    let created = json!({
        "change": "created",
        "id": examples::CONVERSATION,
        "conversation": examples::item(),
    });
    json!({
        "data": [created],
        "per_page": 100,
        "next_cursor": "AQFVhXlSgl1fUVO8pTpTMBXwFlzrc4yuGU9p",
        "has_more": false,
    })
}
