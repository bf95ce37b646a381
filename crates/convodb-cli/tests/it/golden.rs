//! Golden stores: files that released versions wrote are opened, upgraded, and read back unchanged.

use convodb_testkit::golden::{CURSOR_AT, Golden, USER, V1, V2, V3, V3_EARLY, V4, V5};

use crate::command::Place;

/// A directory with a golden store.
fn place(golden: &Golden) -> Place {
    let place = Place::empty();
    place.write("store.convodb", golden.database().unwrap());
    place.write(&format!("store.convodb{}", golden.wal_suffix), golden.wal().unwrap());
    place
}

const STORE: [&str; 4] = ["--db", "store.convodb", "--user", USER];

#[track_caller]
fn check_content(golden: &Golden) {
    let bare = Place::empty();
    bare.write("store.convodb", golden.database().unwrap());
    if golden.format >= 3 {
        // Its tables know that there is a log.
        let refused = bare.run([&["list", "--all", "--json"], &STORE[..]].concat()).failed(1);
        assert!(refused.contains("write-ahead log"), "{refused}");
        bare.run(["verify", "--without-wal", "--db", "store.convodb"]).succeeded();
    }
    let list = bare.run([&["list", "--all", "--json"], &STORE[..]].concat()).succeeded();
    assert_ne!(list, golden.list, "some of it is only in the write-ahead log");

    let place = place(golden);
    for _ in 0..2 {
        let list = place.run([&["list", "--all", "--json"], &STORE[..]].concat()).succeeded();
        assert_eq!(list, golden.list, "format {}", golden.format);
        place.run(["verify", "--db", "store.convodb"]).succeeded();
    }
}

/// Cursors and tokens of the version still work.
#[track_caller]
fn check_cursor_and_token(golden: &Golden) {
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
fn a_store_of_format_1_is_unchanged() {
    check_content(&V1);
}

#[test]
fn cursors_and_tokens_of_format_1_still_work() {
    check_cursor_and_token(&V1);
}

#[test]
fn a_store_of_format_2_is_unchanged() {
    check_content(&V2);
}

#[test]
fn cursors_and_tokens_of_format_2_still_work() {
    check_cursor_and_token(&V2);
}

#[test]
fn an_early_store_of_format_3_is_unchanged() {
    check_content(&V3_EARLY);
}

#[test]
fn cursors_and_tokens_of_an_early_store_of_format_3_still_work() {
    check_cursor_and_token(&V3_EARLY);
}

#[test]
fn a_store_of_format_3_is_unchanged() {
    check_content(&V3);
}

#[test]
fn cursors_and_tokens_of_format_3_still_work() {
    check_cursor_and_token(&V3);
}

#[test]
fn a_store_of_format_4_is_unchanged() {
    check_content(&V4);
}

#[test]
fn cursors_and_tokens_of_format_4_still_work() {
    check_cursor_and_token(&V4);
}

#[test]
fn a_store_of_format_5_is_unchanged() {
    check_content(&V5);
}

#[test]
fn cursors_and_tokens_of_format_5_still_work() {
    check_cursor_and_token(&V5);
}

#[test]
fn a_command_that_only_reads_says_how_an_older_format_is_upgraded() {
    let place = place(&V4);
    let refused = place.run(["indexes", "list", "--db", "store.convodb"]).failed(1);
    assert!(refused.contains("file format 4 is older than 5"), "{refused}");
    place.run(["list", "--db", "store.convodb", "--user", USER]).succeeded();
    place.run(["indexes", "list", "--db", "store.convodb"]).succeeded();
}
