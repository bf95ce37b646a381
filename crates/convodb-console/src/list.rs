//! List screen: a page of conversations with its filters, and the links to its neighbours.

use askama::Template;
use convodb::{
    Channel, ChannelKind, ConversationRef, Count, Excerpt, IndexFamilies, IndexFamily, Preview,
    PreviewRef, Sort,
};

use crate::format::{Time, count, usd};
use crate::frame::{Frame, Screen};
use crate::markup::{kind_name, role_name};
use crate::query::Query;
use crate::text;

/// The parameters that filter the list, as opposed to its order, page size and cursor.
pub(crate) const FILTERS: [&str; 10] = [
    "type",
    "assistant_id",
    "customer_phone",
    "whatsapp_sender_phone",
    "external_identifier",
    AI_ENABLED,
    CREATED[0],
    CREATED[1],
    ACTIVE[0],
    ACTIVE[1],
];

const AI_ENABLED: &str = "ai_enabled";
/// The bounds of a list that is sorted by the time of creation.
const CREATED: [&str; 2] = ["created_from", "created_to"];
/// The bounds of a list that is sorted by last activity.
const ACTIVE: [&str; 2] = ["active_from", "active_to"];

/// A conversation of a list.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) id: String,
    /// Whom or what it is about: a name, a phone, an identifier or the id.
    pub(crate) title: String,
    /// The phone of a customer with a name.
    pub(crate) detail: String,
    pub(crate) kind: ChannelKind,
    pub(crate) assistant: String,
    pub(crate) messages: String,
    pub(crate) cost: String,
    pub(crate) ai_enabled: bool,
    pub(crate) created: Time,
    pub(crate) updated: Time,
    /// The first and the last message; one line if they are the same, none without messages.
    pub(crate) preview: Vec<PreviewLine>,
}

/// The beginning of a message, and its author.
#[derive(Clone, Debug)]
pub(crate) struct PreviewLine {
    pub(crate) author: &'static str,
    pub(crate) text: String,
}

impl Row {
    /// A row from a conversation, the name of its assistant and the beginnings of its messages.
    #[must_use]
    pub fn new(
        row: &ConversationRef<'_>,
        assistant: &str,
        preview: Option<PreviewRef<'_>>,
    ) -> Self {
        let id = row.id.to_string();
        let (title, detail) = participant(&row.channel);
        Self {
            title: title.unwrap_or_else(|| short_id(&id)),
            detail: detail.unwrap_or_default(),
            id,
            kind: row.channel.kind(),
            assistant: assistant.to_owned(),
            messages: count(row.message_count.into()),
            cost: usd(row.total_cost.nanos().into()),
            ai_enabled: row.ai_enabled,
            created: Time::of(row.created_at),
            updated: Time::of(row.updated_at),
            preview: preview.map_or_else(Vec::new, preview_lines),
        }
    }

    /// The same rows with the decimal points of their costs below each other: a cost with fewer
    /// decimals is followed by spaces as wide as digits.
    #[must_use]
    pub fn with_aligned_costs(mut rows: Vec<Self>) -> Vec<Self> {
        let decimals = |cost: &str| cost.rsplit_once('.').map_or(0, |(_, decimals)| decimals.len());
        let most = rows.iter().map(|row| decimals(&row.cost)).max().unwrap_or_default();
        for row in &mut rows {
            let missing = most - decimals(&row.cost);
            row.cost.extend(std::iter::repeat_n('\u{2007}', missing));
        }
        rows
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        kind_name(self.kind)
    }
}

fn preview_lines(Preview { first, last }: PreviewRef<'_>) -> Vec<PreviewLine> {
    let both = [Some(first), (last != first).then_some(last)];
    let line = |message: Excerpt<&str>| PreviewLine {
        author: role_name(message.role),
        text: message.text.to_owned(),
    };
    both.into_iter().flatten().map(line).collect()
}

/// The name of whom a conversation is about, and a second text that identifies it.
pub(crate) fn participant<S: AsRef<str>>(channel: &Channel<S>) -> (Option<String>, Option<String>) {
    match channel {
        Channel::Whatsapp { customer, .. } => {
            let name = customer.name.as_ref().map(|name| name.as_str().to_owned());
            let phone = customer.phone.as_ref().map(|phone| phone.as_str().to_owned());
            if name.is_some() { (name, phone) } else { (phone, None) }
        }
        Channel::Api { external_identifier: Some(identifier) } => {
            (Some(identifier.as_str().to_owned()), None)
        }
        Channel::Api { .. } | Channel::Widget | Channel::Test => (None, None),
    }
}

/// The beginning of an id, for a conversation that has nothing else.
pub(crate) fn short_id(id: &str) -> String {
    format!("#{}", id.get(..8).unwrap_or(id))
}

/// An assistant that a filter can choose.
#[derive(Clone, Debug)]
pub struct AssistantChoice {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The error of one field of a form.
#[derive(Clone, Debug)]
pub struct FieldMessage {
    /// The parameter.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// The list of conversations.
#[derive(Clone, Debug, Template)]
#[template(path = "list.html")]
pub struct ListScreen {
    /// The surroundings.
    pub frame: Frame,
    /// The parameters of the URL.
    pub query: Query,
    /// The rows of the page.
    pub rows: Vec<Row>,
    /// The page size.
    pub per_page: usize,
    /// The number of conversations of the list, if the URL asks for it.
    pub total: Option<Count>,
    /// The cursor of the next page.
    pub next: Option<String>,
    /// The cursor of the previous page.
    pub prev: Option<String>,
    /// The account's assistants, or its first ones.
    pub assistants: Vec<AssistantChoice>,
    /// What is wrong with the parameters.
    pub errors: Vec<FieldMessage>,
    /// The optional indexes by which the store can answer.
    pub indexes: IndexFamilies,
    /// Where live updates begin, if new conversations appear at the top of this page.
    pub live: Option<LiveStart>,
}

/// Where the live updates of a page begin.
#[derive(Clone, Debug)]
pub struct LiveStart {
    /// The cursor of the change feed behind the page.
    pub after: String,
    /// The first row of the page, in the form of the live stream's URL; blank without rows.
    pub first: String,
}

/// A filter of the form.
struct Chip {
    label: &'static str,
    /// The parameters that it sets.
    names: Vec<&'static str>,
    value: String,
    error: String,
}

impl ListScreen {
    fn chip(&self, label: &'static str, names: &[&'static str]) -> Chip {
        let of = |name: &&'static str| self.query.get(name).to_owned();
        let values: Vec<String> = names.iter().map(of).collect();
        let each = |values: &str, name: &dyn Fn(&str) -> Option<String>| {
            let named = values.split(',').map(|value| name(value).unwrap_or(value.to_owned()));
            named.collect::<Vec<_>>().join(", ")
        };
        let value = match (label, values.as_slice()) {
            (text::TYPE, [kinds]) => {
                each(kinds, &|kind| kind.parse().ok().map(|kind| kind_name(kind).to_owned()))
            }
            (text::ASSISTANT, [ids]) => each(ids, &|id| {
                let known = self.assistants.iter().find(|assistant| assistant.id == *id);
                known.map(|assistant| assistant.name.clone())
            }),
            (_, [from, to]) => match (from.as_str(), to.as_str()) {
                ("", "") => String::new(),
                ("", to) => format!("until {to}"),
                (from, "") => format!("from {from}"),
                (from, to) => format!("{from} to {to}"),
            },
            (_, [value]) => value.clone(),
            _ => String::new(),
        };
        let error = self.errors.iter().find(|error| names.contains(&error.field.as_str()));
        let error = error.map_or(String::new(), |error| error.message.clone());
        Chip { label, names: names.to_vec(), value, error }
    }

    /// The chip of a text field.
    fn text_chip(&self, label: &'static str, name: &'static str) -> Chip {
        self.chip(label, &[name])
    }

    /// The chip of the time that sorts the list.
    fn dates_chip(&self) -> Chip {
        if self.is_by_activity() {
            self.chip(text::LAST_ACTIVITY, &ACTIVE)
        } else {
            self.chip(text::CREATED, &CREATED)
        }
    }

    /// The parameters of that chip, with their labels.
    fn bounds(&self) -> [(&'static str, &'static str); 2] {
        let [from, to] = if self.is_by_activity() { ACTIVE } else { CREATED };
        [(text::FROM, from), (text::TO, to)]
    }

    /// Whether the list can have only conversations whose AI is off, or is such a list.
    fn has_ai_chip(&self) -> bool {
        self.indexes.contains(IndexFamily::AiOff) || self.is_ai_off()
    }

    fn is_ai_off(&self) -> bool {
        !self.query.get(AI_ENABLED).is_empty()
    }

    /// The link that adds the filter for conversations whose AI is off, or removes it.
    fn toggle_ai_url(&self) -> String {
        let value = if self.is_ai_off() { "" } else { "false" };
        let query = self.query.with(AI_ENABLED, value).without(&["cursor"]);
        self.frame.url(&format!("/conversations{}", query.suffix()))
    }

    /// Whether the list can be sorted by last activity, or is so.
    fn has_sort(&self) -> bool {
        self.indexes.contains(IndexFamily::LastActivity) || self.is_by_activity()
    }

    fn is_by_activity(&self) -> bool {
        self.query.get("sort") == Sort::LastActivity.as_str()
    }

    /// The order in words.
    fn order(&self) -> &'static str {
        match (self.is_by_activity(), self.is_ascending()) {
            (false, false) => text::NEWEST_FIRST,
            (false, true) => text::OLDEST_FIRST,
            (true, false) => text::LAST_ACTIVE_FIRST,
            (true, true) => text::FIRST_ACTIVE_FIRST,
        }
    }

    /// What the number of live updates counts.
    fn live_word(&self) -> &'static str {
        if self.is_by_activity() { text::ACTIVE_ONES } else { text::NEW_ONES }
    }

    /// The link without a chip's filter, from the start of the list.
    fn without(&self, chip: &Chip) -> String {
        let query = self.query.without(&chip.names).without(&["cursor"]);
        self.frame.url(&format!("/conversations{}", query.suffix()))
    }

    /// Whether a filter that may have several values has this one.
    fn has(&self, name: &str, value: &str) -> bool {
        self.query.get(name).split(',').any(|one| one == value)
    }

    /// The number of conversations of the list: `1,234`, or `at least 10,000`.
    fn total(&self) -> Option<String> {
        let total = self.total?;
        let number = count(total.conversations);
        Some(if total.is_exact { number } else { format!("{} {number}", text::AT_LEAST) })
    }

    fn is_filtered(&self) -> bool {
        self.query.has_any(&FILTERS)
    }

    fn is_ascending(&self) -> bool {
        self.query.get("order") == "asc"
    }

    fn page_url(&self, cursor: Option<&String>) -> Option<String> {
        let query = self.query.with("cursor", cursor?);
        Some(self.frame.url(&format!("/conversations{}", query.suffix())))
    }

    /// The page with newer conversations, and the one with older ones.
    fn neighbours(&self) -> [(&'static str, &'static str, Option<String>); 2] {
        let (next, prev) = (self.page_url(self.next.as_ref()), self.page_url(self.prev.as_ref()));
        if self.is_ascending() {
            [("prev", text::OLDER, prev), ("next", text::NEWER, next)]
        } else {
            [("prev", text::NEWER, prev), ("next", text::OLDER, next)]
        }
    }

    fn row_url(&self, row: &Row) -> String {
        self.frame.url(&format!("/conversations/{}{}", row.id, self.query.suffix()))
    }

    fn start_url(&self) -> String {
        let query = self.query.without(&["cursor"]);
        self.frame.url(&format!("/conversations{}", query.suffix()))
    }

    fn clear_url(&self) -> String {
        let query = self.query.without(&FILTERS).without(&["cursor"]);
        self.frame.url(&format!("/conversations{}", query.suffix()))
    }

    fn live_url(&self) -> Option<String> {
        let LiveStart { after, first } = self.live.as_ref()?;
        let query = self.query.without(&["cursor", "order"]);
        let query = query.with("first", first).with("after", after);
        Some(self.frame.url(&format!("/live{}", query.suffix())))
    }

    /// An error in the words of the screen.
    fn explained<'e>(&self, error: &'e FieldMessage) -> &'e str {
        let is_of_filters = error.field == "sort" && self.is_by_activity();
        if is_of_filters { text::NO_SORT } else { &error.message }
    }

    fn by_creation_url(&self) -> String {
        let query = self.query.without(&["sort", "cursor"]).without(&ACTIVE);
        self.frame.url(&format!("/conversations{}", query.suffix()))
    }

    fn page_sizes(&self) -> [usize; 4] {
        [15, 25, 50, 100]
    }
}
