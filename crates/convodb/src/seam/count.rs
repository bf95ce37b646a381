//! Counts of lists: the days that counters count, and the positions around them.

use std::ops::Range;

use crate::model::choice::ChannelKinds;
use crate::model::timestamp::Day;
use crate::query::count::{first_position, whole_days};
use crate::seam::list::ListPlan;

impl ListPlan<'_> {
    /// The whole days within the bounds, from the first to before the last, if the list is filtered
    /// by type and assistant alone: counters have their conversations.
    #[must_use]
    pub fn counted_days(&self) -> Option<(Day, Day)> {
        let is_counted = self.ranges().all(|terms| {
            terms.sender.is_none() && terms.customer.is_none() && terms.external.is_none()
        });
        let days = whole_days(self.list()).filter(|_| is_counted && self.ranges().len() > 0);
        days.map(|Range { start, end }| (start, end))
    }

    /// The positions of the list before and after those of some days: from the first number to
    /// before the second.
    #[must_use]
    pub fn spans_around(&self, (first, last): (Day, Day)) -> [(u64, u64); 2] {
        let (start, end) = self.span();
        [(start, first_position(first).bits()), (first_position(last).bits(), end)]
    }

    /// The types of the list.
    #[must_use]
    pub fn kinds(&self) -> ChannelKinds {
        self.list().kinds
    }
}
