//! OpenAPI of statistics: conversations, messages and cost by period, type and assistant.

use convodb::Scope;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::openapi::CONVERSATIONS;
use crate::openapi::builders::{
    Field, SchemaRef, conversation_type, enumeration, integer, list, object, optional, or_null,
    pattern, required, string, text, usd_sum, uuid,
};
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::schemas::ASSISTANT;

const DAY: &str = r"^\d{4}-\d{2}-\d{2}$";
const GROUPS: &str = "^((type|assistant),)*(day|week|month|type|assistant)(,(type|assistant))*$";
const NAMES: [&str; 5] = ["day", "week", "month", "type", "assistant"];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let stats = Endpoint::new(
        HttpMethod::Get,
        "/api/user/conversations/stats",
        CONVERSATIONS,
        "readStatistics",
        "Read statistics",
    )
    .extension()
    .scope(Scope::Stats)
    .description(
        "Counts conversations by the day of their creation (UTC), with all their messages and \
         their total cost. The numbers are exact: they come from counters that every write \
         updates, so no conversation is read. A request for more than 10,000 groups is refused \
         with 422.",
    );
    let groups = "The groups of the result, separated by commas; at most one of `day`, `week` and \
                  `month`";
    let from = "The first day; the first day with a conversation by default";
    let to = "The last day, inclusive, not before `from`; no limit by default";
    let stats = stats
        .query("from", pattern(from, DAY), None)
        .query("to", pattern(to, DAY), None)
        .query("group_by", pattern(groups, GROUPS), Some(json!("month,type")))
        .query("type", conversation_type("Only conversations of this type"), None)
        .query("assistant_id", text(ASSISTANT, 1..=255), None)
        .returns("The statistics", statistics(), Example::only(example()));
    vec![stats]
}

fn statistics() -> SchemaRef {
    let period = "The first day of the period, a Monday for a week, even if `from` is later; \
                  present if grouped by period";
    let group = [
        optional("period", pattern(period, DAY)),
        optional("type", conversation_type("Present if grouped by type")),
        optional("assistant_id", uuid("Present if grouped by assistant")),
        optional("assistant_name", string("The current name of the assistant")),
    ];
    let group = object("A group with at least one conversation", group.into_iter().chain(volume()));
    let day = || or_null(pattern("As in the request", DAY));
    object(
        "Groups ordered by period, type and assistant, and their total",
        [
            required("from", day()),
            required("to", day()),
            required("group_by", list("", enumeration("", NAMES))),
            required("data", list("", group)),
            required("total", object("The sum of all groups", volume())),
        ],
    )
    .into()
}

fn volume() -> [Field; 3] {
    [
        required("conversations", integer("", 0..=u64::MAX)),
        required("messages", integer("All messages of these conversations", 0..=u64::MAX)),
        required("total_cost", usd_sum("The cost of all messages of these conversations")),
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
