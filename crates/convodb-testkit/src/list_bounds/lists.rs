//! The measured lists: those of the optional indexes, and unions of several types and assistants.

use convodb::{ChannelKind, Filter, ListRequest, Sort};

use crate::list_bounds::changes::assistant;

/// A list whose pages and counts are measured.
#[derive(Clone, Debug)]
pub(super) struct MeasuredList {
    pub(super) name: &'static str,
    /// The number of ranges that the list is a union of.
    pub(super) ranges: usize,
    pub(super) filter: Filter,
    pub(super) sort: Sort,
    pub(super) previews: bool,
}

impl MeasuredList {
    fn by_creation(name: &'static str, ranges: usize, filter: Filter) -> Self {
        Self { name, ranges, filter, sort: Sort::CreatedAt, previews: false }
    }

    fn by_activity(name: &'static str, ranges: usize, filter: Filter) -> Self {
        Self { sort: Sort::LastActivity, ..Self::by_creation(name, ranges, filter) }
    }

    /// The request for the first page; without a size.
    pub(super) fn request(&self) -> ListRequest {
        let request = ListRequest::new().filter(self.filter.clone()).sort(self.sort);
        if self.previews { request.previews() } else { request }
    }
}

const TYPE: ChannelKind = ChannelKind::Whatsapp;
const TWO_TYPES: [ChannelKind; 2] = [TYPE, ChannelKind::Api];
const THREE_TYPES: [ChannelKind; 3] = [TYPE, ChannelKind::Api, ChannelKind::Test];

fn kinds<const N: usize>(kinds: [ChannelKind; N]) -> Filter {
    Filter { kinds: convodb::ChannelKinds::new(kinds).ok(), ..Filter::new() }
}

/// The filter with the most assistants that one may have.
fn with_assistants(filter: Filter) -> Filter {
    let twenty = convodb::AssistantIds::new((0..20).map(assistant));
    Filter { assistants: twenty.ok(), ..filter }
}

fn sender() -> Filter {
    Filter { sender_phone: "+1".parse().ok(), ..Filter::new() }
}

fn customer() -> Filter {
    Filter { customer_phone: "+2".parse().ok(), ..Filter::new() }
}

/// The lists whose pages are measured.
pub(super) fn of_pages() -> Vec<MeasuredList> {
    let (none, one) = (Filter::new, assistant(0));
    let by_creation = MeasuredList::by_creation;
    let by_activity = MeasuredList::by_activity;
    let with_previews = |list: MeasuredList| MeasuredList { previews: true, ..list };
    vec![
        by_activity("last activity: all", 1, none()),
        by_activity("last activity: type", 1, none().kind(TYPE)),
        by_activity("last activity: assistant", 1, none().assistant(one)),
        by_activity("last activity: type+assistant", 1, none().kind(TYPE).assistant(one)),
        by_activity("last activity: sender", 1, sender()),
        by_activity("last activity: customer", 1, customer()),
        by_activity("last activity: 2 types", 2, kinds(TWO_TYPES)),
        by_activity("last activity: 20 assistants", 20, with_assistants(none())),
        by_activity(
            "last activity: 3 types, 20 assistants",
            60,
            with_assistants(kinds(THREE_TYPES)),
        ),
        by_creation("AI off", 1, none().ai_off()),
        by_creation("AI off: type", 1, none().ai_off().kind(TYPE)),
        by_creation("AI off: assistant", 1, none().ai_off().assistant(one)),
        by_creation("AI off: type+assistant", 1, none().ai_off().kind(TYPE).assistant(one)),
        by_creation("2 types", 2, kinds(TWO_TYPES)),
        by_creation("20 assistants", 20, with_assistants(none())),
        by_creation("3 types, 20 assistants", 60, with_assistants(kinds(THREE_TYPES))),
        by_creation("sender, 20 assistants", 20, with_assistants(sender())),
        by_creation("customer, 20 assistants", 20, with_assistants(customer())),
        with_previews(by_creation("previews: all", 1, none())),
        with_previews(by_activity("previews: customer by last activity", 1, customer())),
    ]
}

/// The lists whose conversations are counted.
pub(super) fn of_counts() -> Vec<MeasuredList> {
    let (none, one) = (Filter::new, assistant(0));
    let by_creation = MeasuredList::by_creation;
    let external = Filter { external_identifier: "ticket".parse().ok(), ..none() };
    vec![
        by_creation("all", 1, none()),
        by_creation("type", 1, none().kind(TYPE)),
        by_creation("assistant", 1, none().assistant(one)),
        by_creation("3 types, 20 assistants", 60, with_assistants(kinds(THREE_TYPES))),
        by_creation("sender", 1, sender()),
        by_creation("sender, 20 assistants", 20, with_assistants(sender())),
        by_creation("customer", 1, customer()),
        by_creation("customer, 20 assistants", 20, with_assistants(customer())),
        by_creation("external", 1, external),
        by_creation("AI off", 1, none().ai_off()),
        by_creation("AI off: type+assistant", 1, none().ai_off().kind(TYPE).assistant(one)),
        MeasuredList::by_activity("last activity: type", 1, none().kind(TYPE)),
        MeasuredList::by_activity("last activity: 20 assistants", 20, with_assistants(none())),
    ]
}
