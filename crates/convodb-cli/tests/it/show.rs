//! `show` and `delete`: one conversation.

use crate::maintenance::filled;

const ID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae4";
const STORE: [&str; 5] = ["--db", "s.convodb", "--user", "acme", ID];

#[test]
fn a_conversation_is_shown_with_its_messages() {
    let place = filled();
    let shown = place.run([&["show"], &STORE[..]].concat()).succeeded();
    for line in [
        "id          7c9e6679-7425-40de-944b-e07fc1f90ae4",
        "type        whatsapp",
        "created     2025-01-24 10:15:00 UTC",
        "assistant   Support (a1b2c3d4-5678-40ab-8def-1234567890ab)",
        "customer    +4915550100001",
        "cost        0.0032 USD",
        "2025-01-25 10:15:00  user",
        "    Hello?",
        "    Hi!",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    // By the user's number, and as the line of an export.
    let show = ["show", "--db", "s.convodb", "--user", "1", ID, "--json"];
    let line = place.run(show).succeeded();
    let export = ["export", "--db", "s.convodb", "--user", "acme", "--messages"];
    let exported = place.run(export).succeeded();
    assert!(exported.ends_with(&line), "{line}");
}

#[test]
fn a_conversation_is_deleted_after_confirmation() {
    let place = filled();
    let unconfirmed = place.run([&["delete"], &STORE[..]].concat()).failed(2);
    assert!(
        unconfirmed.contains("this deletes the whatsapp conversation 7c9e6679"),
        "{unconfirmed}"
    );
    assert!(unconfirmed.contains("--yes"), "{unconfirmed}");
    let deleted = place.run([&["delete", "--yes"], &STORE[..]].concat());
    assert!(deleted.err.contains("with 2 messages"), "{deleted:?}");
    deleted.succeeded();
    for verb in [&["show"][..], &["delete", "--yes"]] {
        let gone = place.run([verb, &STORE].concat()).failed(1);
        assert!(gone.contains("conversation 7c9e6679-7425-40de-944b-e07fc1f90ae4 not found"));
    }
    place.run(["verify", "--db", "s.convodb"]).succeeded();
}
