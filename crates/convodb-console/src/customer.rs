//! Customer screen: the conversations of a phone, their sums, the first and the last one.

use askama::Template;

use crate::format::{Time, count, usd};
use crate::frame::{Frame, Screen};
use crate::list::Row;
use crate::query::Query;
use crate::text;

/// The sums of a customer's conversations.
#[derive(Clone, Debug, Default)]
pub struct CustomerTotals {
    /// The number of conversations that were added up.
    pub conversations: u64,
    /// Their messages.
    pub messages: u64,
    /// Their cost in billionths of a dollar.
    pub cost_nanos: i128,
    /// Whether there are more conversations than were added up.
    pub is_partial: bool,
    /// The creation of the oldest one.
    pub first: Option<convodb::Timestamp>,
    /// The creation of the newest one.
    pub last: Option<convodb::Timestamp>,
    /// The newest name of the customer.
    pub name: Option<String>,
}

/// The conversations of one phone, or a form that asks for it.
#[derive(Clone, Debug, Template)]
#[template(path = "customer.html")]
pub struct CustomerScreen {
    /// The surroundings.
    pub frame: Frame,
    /// The phone; blank to ask for one.
    pub phone: String,
    /// The newest conversations.
    pub rows: Vec<Row>,
    /// Whether there are more than these rows.
    pub has_more: bool,
    /// The sums.
    pub totals: CustomerTotals,
    /// What is wrong with the phone; blank if nothing.
    pub error: String,
}

impl CustomerScreen {
    fn title(&self) -> &str {
        match (&self.totals.name, self.phone.as_str()) {
            (Some(name), _) => name,
            (None, "") => text::CUSTOMER,
            (None, phone) => phone,
        }
    }

    /// The rows are sorted by the time of creation.
    #[allow(clippy::unused_self, reason = "the template of the rows asks each screen")]
    const fn is_by_activity(&self) -> bool {
        false
    }

    fn list(&self) -> Query {
        Query::new([("customer_phone", self.phone.clone())])
    }

    fn list_url(&self) -> String {
        self.frame.url(&format!("/conversations{}", self.list().suffix()))
    }

    fn row_url(&self, row: &Row) -> String {
        self.frame.url(&format!("/conversations/{}{}", row.id, self.list().suffix()))
    }

    fn conversations(&self) -> String {
        let more = if self.totals.is_partial { "+" } else { "" };
        format!("{}{more}", count(self.totals.conversations))
    }

    fn messages(&self) -> String {
        count(self.totals.messages)
    }

    fn cost(&self) -> String {
        usd(self.totals.cost_nanos)
    }

    fn first(&self) -> Option<Time> {
        self.totals.first.map(Time::of)
    }

    fn last(&self) -> Option<Time> {
        self.totals.last.map(Time::of)
    }
}
