//! Statistics.

use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::openapi::CONVERSATIONS;
use crate::openapi::builders::{
    Field, Shape, always, any_text, formed, integer, kind, list, maybe, object, or_null, text, usd,
    uuid, word,
};
use crate::openapi::endpoint::{Body, Endpoint};

const DAY: &str = r"^\d{4}-\d{2}-\d{2}$";
const GROUPS: &str = "^((type|assistant),)*(day|week|month|type|assistant)(,(type|assistant))*$";
const NAMES: [&str; 5] = ["day", "week", "month", "type", "assistant"];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let stats = Endpoint::new(
        HttpMethod::Get,
        "/api/user/conversations/stats",
        CONVERSATIONS,
        "readStatistics",
        "Count and bill",
    )
    .tells(
        "Conversations by the day of their creation, with all their messages and cost, from \
         counters that are kept with each write: exact, and no conversation is read for it.",
    );
    let groups =
        "A row for each; at most one of `day`, `week` and `month`, and at most 10,000 rows";
    let assistant = "One of the caller's assistants: its UUID, or its number in their list";
    let stats = stats
        .query("from", formed("The first day; the first there is if none", DAY), None)
        .query("to", formed("The last day, not before the first; none for no end", DAY), None)
        .query("group_by", formed(groups, GROUPS), Some(json!("month,type")))
        .query("type", kind("Only of this type"), None)
        .query("assistant_id", text(assistant, 1..=255), None)
        .answers("Statistics", statistics(), Body::one(example()));
    vec![stats]
}

fn statistics() -> Shape {
    let rows = [
        maybe("period", formed("Its first day, where periods are asked for", DAY)),
        maybe("type", kind("Where types are asked for")),
        maybe("assistant_id", uuid("Where assistants are asked for")),
        maybe("assistant_name", any_text("The present name of it")),
    ];
    let row = object("A group that has conversations", rows.into_iter().chain(volume()));
    let day = |tells| or_null(formed(tells, DAY));
    object(
        "Groups by period, type and assistant, and all of them together",
        [
            always("from", day("As it was asked for")),
            always("to", day("As it was asked for")),
            always("group_by", list("", word("", NAMES))),
            always("data", list("", row)),
            always("total", object("All groups together", volume())),
        ],
    )
    .into()
}

fn volume() -> [Field; 3] {
    [
        always("conversations", integer("", 0..=u64::MAX)),
        always("messages", integer("All of those conversations", 0..=u64::MAX)),
        always("total_cost", usd("All of those conversations")),
    ]
}

fn example() -> Value {
    json!({
        "from": null,
        "to": null,
        "group_by": ["month", "type"],
        "data": [{
            "period": "2025-01-01",
            "type": "whatsapp",
            "conversations": 1,
            "messages": 2,
            "total_cost": 0.0032,
        }],
        "total": {"conversations": 1, "messages": 2, "total_cost": 0.0032},
    })
}
