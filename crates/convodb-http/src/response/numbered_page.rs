//! Page of a list by page number, in the shape of Laravel's paginator, as in the reference API.

use std::fmt::Write as _;

use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::Response;
use convodb::PageSize;
use convodb_json::json;

use crate::response::json_body;

/// The number and the size of the requested page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageParams {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) per_page: PageSize,
}

impl PageParams {
    /// Returns the number of items before the page, or `None` if it exceeds `u32`.
    pub(crate) fn offset(self) -> Option<u32> {
        self.size().checked_mul(self.number.checked_sub(1)?)
    }

    fn size(self) -> u32 {
        u32::try_from(self.per_page.get()).unwrap_or(u32::MAX)
    }
}

/// A page, except for its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumberedPage {
    pub(crate) params: PageParams,
    /// The number of items on all pages.
    pub(crate) total: u32,
    /// The number of items on this page.
    pub(crate) len: usize,
}

impl NumberedPage {
    /// Returns the number of the last page; 1 for an empty list.
    fn last(self) -> u32 {
        self.total.div_ceil(self.params.size()).max(1)
    }

    /// Returns the numbers of the first and the last item of the page, from 1; `None` if it is
    /// empty.
    fn bounds(self) -> Option<(u64, u64)> {
        let offset = u64::from(self.params.offset()?);
        (self.len > 0).then(|| (offset + 1, offset + self.len as u64))
    }

    fn next(self) -> Option<u32> {
        (self.params.number < self.last()).then(|| self.params.number + 1)
    }

    fn prev(self) -> Option<u32> {
        (self.params.number > 1).then(|| self.params.number - 1)
    }
}

/// Returns the response for the list at `url`. `write` appends the items.
pub(crate) fn response(
    url: &str,
    page: NumberedPage,
    write: impl FnOnce(&mut Vec<u8>),
) -> Response {
    let per_page = page.params.per_page.get();
    let link = |number: u32| format!("{url}?per_page={per_page}&page={number}");
    let [next, prev] = [page.next(), page.prev()].map(|number| number.map(link));
    let [first, last] = [1, page.last()].map(link);
    let mut out = Vec::with_capacity(1024);
    json::raw(&mut out, "{\"current_page\":");
    json::integer(&mut out, page.params.number.into());
    json::raw(&mut out, ",\"data\":[");
    write(&mut out);
    json::raw(&mut out, "],\"first_page_url\":");
    json::string(&mut out, &first);
    json::raw(&mut out, ",\"from\":");
    json::integer_or_null(&mut out, page.bounds().map(|(from, _)| from));
    json::raw(&mut out, ",\"last_page\":");
    json::integer(&mut out, page.last().into());
    json::raw(&mut out, ",\"last_page_url\":");
    json::string(&mut out, &last);
    json::raw(&mut out, ",\"next_page_url\":");
    json::string_or_null(&mut out, next.as_deref());
    json::raw(&mut out, ",\"path\":");
    json::string(&mut out, url);
    json::raw(&mut out, ",\"per_page\":");
    json::integer(&mut out, per_page as u64);
    json::raw(&mut out, ",\"prev_page_url\":");
    json::string_or_null(&mut out, prev.as_deref());
    json::raw(&mut out, ",\"to\":");
    json::integer_or_null(&mut out, page.bounds().map(|(_, to)| to));
    json::raw(&mut out, ",\"total\":");
    json::integer(&mut out, page.total.into());
    out.push(b'}');

    let mut links = format!("<{first}>; rel=\"first\", <{last}>; rel=\"last\"");
    for (url, rel) in [(next, "next"), (prev, "prev")] {
        if let Some(url) = url {
            // Writing to a string cannot fail.
            let _ = write!(links, ", <{url}>; rel=\"{rel}\"");
        }
    }
    let mut response = json_body::ok(out);
    if let Ok(links) = HeaderValue::try_from(links) {
        response.headers_mut().insert(LINK, links);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        number: u32,
        total: u32,
        len: usize,
        bounds: Option<(u64, u64)>,
        neighbours: [Option<u32>; 2],
    ) {
        let params = PageParams { number, per_page: PageSize::new(10).unwrap() };
        let page = NumberedPage { params, total, len };
        assert_eq!(
            (page.bounds(), [page.prev(), page.next()]),
            (bounds, neighbours),
            "{number} of {total}"
        );
    }

    #[test]
    fn a_page_has_its_bounds_and_neighbours() {
        check(1, 0, 0, None, [None, None]);
        check(1, 10, 10, Some((1, 10)), [None, None]);
        check(1, 11, 10, Some((1, 10)), [None, Some(2)]);
        check(2, 11, 1, Some((11, 11)), [Some(1), None]);
        check(3, 11, 0, None, [Some(2), None]);
        check(u32::MAX, 11, 0, None, [Some(u32::MAX - 1), None]);
    }
}
