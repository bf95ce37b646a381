//! Stores that released versions wrote, as files of the repository: each is opened, brought to this
//! version's format, and is what it was.

use convodb_testkit::golden::{CURSOR_AT, Golden, USER, V1, V2};

use crate::command::Place;

/// A directory with a golden store.
fn place(golden: &Golden) -> Place {
    let place = Place::empty();
    place.write("store.convodb", golden.tables().unwrap());
    place.write(&format!("store.convodb{}", golden.log_suffix), golden.log);
    place
}

const STORE: [&str; 4] = ["--db", "store.convodb", "--user", USER];

#[track_caller]
fn is_what_it_was(golden: &Golden) {
    let bare = Place::empty();
    bare.write("store.convodb", golden.tables().unwrap());
    let list = bare.run([&["list", "--all", "--json"], &STORE[..]].concat()).succeeded();
    assert_ne!(list, golden.list, "some of it only the log has");

    let place = place(golden);
    for _ in 0..2 {
        let list = place.run([&["list", "--all", "--json"], &STORE[..]].concat()).succeeded();
        assert_eq!(list, golden.list, "format {}", golden.format);
        place.run(["verify", "--db", "store.convodb"]).succeeded();
    }
}

/// What clients of the version have in hand still works: a cursor goes on where it was, and a token
/// is still known.
#[track_caller]
fn knows_its_clients(golden: &Golden) {
    let place = place(golden);
    let args = ["list", "--json", "--per-page", "7", "--cursor", golden.cursor];
    let page = place.run([&args, &STORE[..]].concat()).succeeded();
    let expected: Vec<&str> = golden.list.lines().skip(CURSOR_AT).take(7).collect();
    assert_eq!(page.lines().collect::<Vec<_>>(), expected, "format {}", golden.format);

    let revoke = ["token", "revoke", "--db", "store.convodb", "-"];
    place.run_with(revoke, golden.token.as_bytes()).succeeded();
    place.run_with(revoke, golden.token.as_bytes()).failed(1);
}

#[test]
fn a_store_of_format_1_is_what_it_was() {
    is_what_it_was(&V1);
}

#[test]
fn cursors_and_tokens_of_format_1_are_still_good() {
    knows_its_clients(&V1);
}

#[test]
fn a_store_of_format_2_is_what_it_was() {
    is_what_it_was(&V2);
}

#[test]
fn cursors_and_tokens_of_format_2_are_still_good() {
    knows_its_clients(&V2);
}
