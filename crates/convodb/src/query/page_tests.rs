//! Tests of pages over inconsistent tables.
//!
//! Covers entries of another list with the same term, damaged records and entries without a row.

use redb::ReadableTable;

use crate::encoding::index_term::{Field, Shape};
use crate::encoding::key::{IndexKey, RowKey};
use crate::error::{Error, Result};
use crate::model::channel::ChannelKind;
use crate::model::position::Position;
use crate::query::cursor::PageCursor;
use crate::query::filter::Filter;
use crate::query::page::{self, Page, PageCost};
use crate::query::page_size::PageSize;
use crate::query::request::ListRequest;
use crate::tables::schema;
use crate::testing::{RawStore, whatsapp_row};

fn filter() -> Filter {
    Filter { customer_phone: Some("+2".parse().unwrap()), ..Filter::default() }
}

fn list(store: &RawStore, request: &ListRequest) -> Result<Page> {
    let resolved = request.resolve(store.user, &store.fingerprinter)?;
    let tables = store.tables();
    page::read(&tables, &store.fingerprinter, store.user, &request.filter, &resolved)
}

fn numbers(page: &Page) -> Vec<u128> {
    page.conversations().map(|row| row.id.uuid().as_u128()).collect()
}

fn first_page(size: u64) -> ListRequest {
    let page_size = Some(PageSize::new(size).unwrap());
    ListRequest { filter: filter(), page_size, ..ListRequest::default() }
}

/// A store with rows 1 to 6 of two customers in turn. All six have an entry in the list of the
/// customer with the odd rows, as if both lists had the same term.
fn colliding() -> RawStore {
    let store = RawStore::new();
    let user = store.user;
    store.transact(|transaction| {
        for number in 1..=6 {
            let customer = if number % 2 == 1 { "+2" } else { "+3" };
            transaction.insert(user, whatsapp_row(number, customer), Vec::new())?;
        }
        Ok(())
    });
    let fingerprints = filter().fingerprints(&store.fingerprinter);
    let (_, term) = fingerprints.term(fingerprints.shape()).unwrap();
    store.write(|write| {
        let rows = schema::CONVERSATIONS.open_for_write(write).unwrap();
        let positions: Vec<Position> =
            rows.iter().unwrap().map(|entry| entry.unwrap().0.value().position).collect();
        let mut index = schema::index(Field::Customer).open_for_write(write).unwrap();
        for position in positions {
            index.insert(IndexKey { user, term, position }, ()).unwrap();
        }
    });
    store
}

#[test]
fn colliding_entries_are_skipped_and_never_returned() {
    let store = colliding();
    let page = list(&store, &first_page(15)).unwrap();
    assert_eq!(numbers(&page), [5, 3, 1]);
    // Six entries of the list. The scan reads a seventh if another list follows in the index, which
    // depends on the store's random secret.
    assert_eq!(page.cost().rows, 6);
    assert!((6..=7).contains(&page.cost().entries), "{:?}", page.cost());

    // The result is the same with only a cursor, which has no values but only fingerprints.
    let first = list(&store, &first_page(1)).unwrap();
    let mut listed = numbers(&first);
    let mut next: Option<PageCursor> = first.next_cursor().copied();
    while let Some(cursor) = next {
        let page = list(&store, &ListRequest::at(cursor)).unwrap();
        listed.extend(numbers(&page));
        next = page.next_cursor().copied();
    }
    assert_eq!(listed, [5, 3, 1]);
}

/// Two ranges of a union that have the same entries, as if their terms were equal.
#[test]
fn a_row_in_two_ranges_of_a_union_is_returned_once() {
    let store = RawStore::with_rows();
    let user = store.user;
    let fingerprints = |kind| Filter::new().kind(kind).fingerprints(&store.fingerprinter);
    let term = |kind| fingerprints(kind).term(Shape::of(&[Field::Kind])).unwrap().1;
    store.write(|write| {
        let rows = schema::CONVERSATIONS.open_for_write(write).unwrap();
        let mut index = schema::index(Field::Kind).open_for_write(write).unwrap();
        for entry in rows.iter().unwrap() {
            let position = entry.unwrap().0.value().position;
            for kind in [ChannelKind::Whatsapp, ChannelKind::Api] {
                index.insert(IndexKey { user, term: term(kind), position }, ()).unwrap();
            }
        }
    });
    let all = numbers(&list(&store, &ListRequest::new()).unwrap());
    let filter = Filter::new().kinds([ChannelKind::Whatsapp, ChannelKind::Api]).unwrap();
    let request = ListRequest::new().filter(filter);
    let union = list(&store, &request).unwrap();
    assert_eq!((numbers(&union), union.cost().ranges), (all.clone(), 2));
    let mut paged = Vec::new();
    let mut next = Some(request.page_size(1).unwrap());
    while let Some(request) = next.take() {
        let page = list(&store, &request).unwrap();
        paged.extend(numbers(&page));
        next = page.next_cursor().copied().map(ListRequest::at);
    }
    assert_eq!(paged, all);
}

#[test]
fn damaged_records_are_reported_and_never_returned() {
    let store = RawStore::with_rows();
    store.write(|write| {
        let mut rows = schema::CONVERSATIONS.open_for_write(write).unwrap();
        let (key, mut record): (RowKey, Vec<u8>) = {
            let (key, record) = rows.iter().unwrap().nth(1).unwrap().unwrap();
            (key.value(), record.value().to_vec())
        };
        record[20] ^= 4;
        rows.insert(key, record.as_slice()).unwrap();
    });
    for request in [first_page(15), ListRequest::default()] {
        let outcome = list(&store, &request);
        assert!(matches!(outcome, Err(Error::Corrupted { table: "conversations.v1", .. })));
    }
    // A page that does not read the damaged row succeeds.
    assert_eq!(numbers(&list(&store, &first_page(1)).unwrap()), [3]);
}

#[test]
fn an_entry_without_a_row_is_reported() {
    let store = RawStore::with_rows();
    store.write(|write| {
        let mut rows = schema::CONVERSATIONS.open_for_write(write).unwrap();
        let key = rows.iter().unwrap().next().unwrap().unwrap().0.value();
        rows.remove(key).unwrap();
    });
    assert!(matches!(list(&store, &first_page(15)), Err(Error::Corrupted { .. })));
}

#[test]
fn a_page_reports_its_length_cursors_and_cost() {
    let bound = |size| PageCost::bound(PageSize::new(size).unwrap());
    assert_eq!((bound(1), bound(15), bound(100)), (20, 160, 1_010));

    let store = RawStore::with_rows();
    let all = list(&store, &first_page(15)).unwrap();
    let numbers = numbers(&all);
    assert_eq!((all.len(), all.is_empty()), (numbers.len(), false));
    assert!(numbers.len() > 2 && all.prev_cursor().is_none() && all.next_cursor().is_none());

    let first = list(&store, &first_page(1)).unwrap();
    assert!(first.prev_cursor().is_none());
    let second = list(&store, &ListRequest::at(*first.next_cursor().unwrap())).unwrap();
    assert_eq!(second.sort_keys().next(), all.sort_keys().nth(1));
    // The entry before the page, its own, and the one after.
    assert_eq!((second.cost().entries, second.cost().rows), (3, 1));
    let back = list(&store, &ListRequest::at(*second.prev_cursor().unwrap())).unwrap();
    assert_eq!(back.sort_keys().next(), first.sort_keys().next());
    let debug = format!("{second:?}");
    assert!(debug.contains("len: 1") && debug.contains("entries: 3"), "{debug}");

    let filter = Filter { customer_phone: Some("+99".parse().unwrap()), ..Filter::default() };
    let none = list(&store, &ListRequest { filter, ..ListRequest::default() }).unwrap();
    assert_eq!((none.len(), none.is_empty()), (0, true));
    assert!(none.prev_cursor().is_none() && none.next_cursor().is_none());
}
