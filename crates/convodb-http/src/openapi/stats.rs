//! OpenAPI of statistics: conversations, messages and cost by period, type and assistant.

use convodb::Scope;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::openapi::builders::{
    Field, SchemaRef, date, enumeration, integer, list, named, named_as, object, optional, or_null,
    required, several, string, usd_sum, uuid,
};
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::list::assistants;
use crate::openapi::parts::CONVERSATION_TYPE;
use crate::openapi::{CONVERSATIONS, examples};

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
    let groups = list(groups, named("Grouping"));
    let from = "The first day; the first day with a conversation by default";
    let to = "The last day, inclusive, not before `from`; no limit by default";
    let stats = stats
        .query("from", date(from), "2025-01-01")
        .query("to", date(to), "2025-12-31")
        .query("group_by", groups, json!(["month", "type"]))
        .query("type", several("The channel", named(CONVERSATION_TYPE)), json!(["whatsapp"]))
        .query("assistant_id", assistants(), json!([examples::ASSISTANT]))
        .cached()
        .returns("The statistics", named("Statistics"), Example::only(example()));
    vec![stats]
}

/// What statistics are grouped by.
pub(super) fn grouping() -> SchemaRef {
    enumeration("What a group has in common", NAMES).into()
}

/// The numbers of one group.
pub(super) fn group() -> SchemaRef {
    let period = "The first day of the period, a Monday for a week, even if `from` is later; \
                  present if grouped by period";
    let group = [
        optional("period", date(period)),
        optional("type", named_as(CONVERSATION_TYPE, "Present if grouped by type")),
        optional("assistant_id", uuid("Present if grouped by assistant")),
        optional("assistant_name", string("The current name of the assistant")),
    ];
    object("A group with at least one conversation", group.into_iter().chain(volume())).into()
}

/// The numbers of all groups together.
pub(super) fn total() -> SchemaRef {
    object("The sum of all groups", volume()).into()
}

/// The body of the statistics.
pub(super) fn statistics() -> SchemaRef {
    let day = || or_null(date("As in the request"));
    object(
        "Groups ordered by period, type and assistant, and their total",
        [
            required("from", day()),
            required("to", day()),
            required("group_by", list("", named("Grouping"))),
            required("data", list("", named("StatisticsGroup"))),
            required("total", named("StatisticsTotal")),
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
        "from": "2025-01-01",
        "to": "2025-12-31",
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
