//! `list`: filters, cursors, and a closed pipe.

use std::io::Read;
use std::process::Stdio;

use crate::command::Place;
use crate::import::{file, items};

const LIST: [&str; 5] = ["list", "--db", "s.convodb", "--user", "acme"];

fn filled() -> Place {
    let place = Place::with_user();
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    place.run_with(import, &file()).succeeded();
    place
}

#[test]
fn filters_narrow_the_list() {
    let place = filled();
    let [test, widget, api, whatsapp] = items();
    let check = |flags: &[&str], expected: &[&String]| {
        let list = LIST.iter().chain(flags).chain(&["--json"]);
        let expected: String = expected.iter().map(|item| format!("{item}\n")).collect();
        assert_eq!(place.run(list).succeeded(), expected, "{flags:?}");
    };
    check(&["--type", "widget"], &[&widget]);
    check(&["--customer-phone", "+4915550100001"], &[&whatsapp]);
    check(&["--sender-phone", "+15550100001", "--type", "whatsapp"], &[&whatsapp]);
    check(&["--external-identifier", "crm-1"], &[&api]);
    check(&["--assistant", "1", "--from", "2025-01-23"], &[&whatsapp, &api]);
    check(&["--to", "2025-01-22", "--order", "asc"], &[&test, &widget]);
    check(&["--customer-phone", "+4915550100001", "--type", "api"], &[]);
    check(&["--type", "widget,api"], &[&api, &widget]);
    check(
        &["--type", "api", "--type", "widget,test", "--assistant", "1,1"],
        &[&api, &widget, &test],
    );
    check(&["--all", "--per-page", "3"], &[&whatsapp, &api, &widget, &test]);
}

#[test]
fn lists_and_exports_are_sorted_by_last_activity() {
    let place = Place::with_user();
    let active = |text: &str| text.replace("\"2025-01-21 10:28:45\"", "\"2025-01-29 10:28:45\"");
    let lines = active(str::from_utf8(&file()).unwrap());
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    place.run_with(import, lines.as_bytes()).succeeded();
    let absent = place.run(LIST.iter().chain(&["--sort", "last-activity"])).failed(1);
    assert!(absent.contains("convodb indexes add last-activity"), "{absent}");
    place.run(["indexes", "add", "last-activity", "--db", "s.convodb"]).succeeded();
    let [test, widget, api, whatsapp] = items().map(|item| active(&item));
    let sort = ["--sort", "last-activity"];
    let list = |flags: &[&str]| place.run(LIST.iter().chain(&sort).chain(flags));
    let check = |flags: &[&str], expected: &[&String]| {
        let expected: String = expected.iter().map(|item| format!("{item}\n")).collect();
        let json = flags.iter().copied().chain(["--json"]).collect::<Vec<_>>();
        assert_eq!(list(&json).succeeded(), expected, "{flags:?}");
    };
    check(&[], &[&test, &whatsapp, &api, &widget]);
    check(&["--order", "asc", "--type", "test,api"], &[&api, &test]);
    check(&["--active-from", "2025-01-23", "--active-to", "2025-01-24"], &[&whatsapp, &api]);
    assert_eq!(list(&["--active-from", "2025-01-24", "--count"]).succeeded(), "2\n");
    let table = list(&[]).succeeded();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("  ACTIVE "), "{table}");
    assert!(lines[1].contains("  2025-01-29 10:28:45  test"), "{table}");

    for (flags, named) in [
        (["--external-identifier", "crm-1"], "--sort can be last_activity without filter"),
        (["--from", "2025-01-01"], "--from and --to: leave them out"),
    ] {
        let error = list(&flags).failed(2);
        assert!(error.contains(named), "{error}");
    }
    let error = place.run(LIST.iter().chain(&["--active-to", "2025-01-01"])).failed(2);
    assert!(error.contains("add --sort last-activity"), "{error}");

    let export = ["export", "--db", "s.convodb", "--user", "acme"];
    let exported = place.run(export.iter().chain(&sort)).succeeded();
    let ids: Vec<&str> = exported.lines().map(|line| &line[..46]).collect();
    let expected = [&widget, &api, &whatsapp, &test];
    assert_eq!(ids, expected.map(|item| &item[..46]), "least recently active first");
    let refused = export.iter().chain(&sort).chain(&["--external-identifier", "x"]);
    assert!(place.run(refused).failed(2).contains("--sort can be"));
}

#[test]
fn a_count_is_printed_instead_of_a_page() {
    let place = filled();
    let count =
        |flags: &[&str]| place.run(LIST.iter().chain(&["--count"]).chain(flags)).succeeded();
    assert_eq!(count(&[]), "4\n");
    assert_eq!(count(&["--type", "widget,api"]), "2\n");
    assert_eq!(count(&["--customer-phone", "+1"]), "0\n");
    assert_eq!(count(&["--json"]), "{\"total\":{\"conversations\":4,\"exact\":true}}\n");
    place.run(LIST.iter().chain(&["--count", "--all"])).failed(2);
}

#[test]
fn cursors_lead_forward_and_back() {
    let place = filled();
    let [test, widget, api, whatsapp] = items();
    let page = |flags: &[&str]| {
        let ran = place.run(LIST.iter().chain(flags).chain(&["--json"]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let cursor = |name: &str| {
            let line = ran.err.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            line.map(str::to_owned)
        };
        (ran.out.clone(), cursor("next:"), cursor("prev:"))
    };
    let (first, next, prev) = page(&["--per-page", "2"]);
    assert_eq!((first.as_str(), prev), (format!("{whatsapp}\n{api}\n").as_str(), None));
    let (second, end, prev) = page(&[&next.unwrap()]);
    assert_eq!((second.as_str(), end), (format!("{widget}\n{test}\n").as_str(), None));
    let (back, ..) = page(&[&prev.unwrap()]);
    assert_eq!(back, first);
}

#[test]
fn without_json_a_table_is_printed() {
    let place = filled();
    let table = place.run(LIST).succeeded();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert!(lines[0].starts_with("ID ") && lines[0].contains("  CREATED "), "{table}");
    assert!(lines[1].contains("  whatsapp  +4915550100001"), "{table}");
    assert!(lines[1].contains("  0.0032  on"), "{table}");
}

#[test]
fn wrong_flags_have_their_own_exit_status() {
    let place = filled();
    let long = "4915".repeat(20);
    for flags in [
        ["--per-page", "101"],
        ["--type", "sms"],
        ["--from", "yesterday"],
        ["--cursor", "garbage"],
        ["--customer-phone", &long],
        ["--assistant", "Support"],
    ] {
        let error = place.run(LIST.iter().chain(&flags)).failed(2);
        assert!(error.starts_with("error: ") && error.contains(flags[0]), "{error}");
        assert!(!error.contains(&long), "a phone was repeated");
    }
    assert!(place.run(LIST.iter().chain(&["--assistant", "1,7"])).failed(1).contains("7"));
    let many = vec!["1"; 21].join(",");
    let error = place.run(LIST.iter().chain(&["--assistant", &many])).failed(2);
    assert!(error.contains("--assistant: must not have more than 20 values"), "{error}");
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let place = Place::with_user();
    let [item, ..] = items();
    // Far more than the buffer of a pipe, so that a write fails.
    let lines: String =
        (0..2000).map(|n| item.replace("7c9e6679", &format!("{n:08x}")) + "\n").collect();
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    place.run_with(import, lines.as_bytes()).succeeded();

    let mut command = place.command(LIST.iter().chain(&["--all", "--json"]));
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut start = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn previews_are_printed_beside_their_conversations() {
    let place = filled();
    let list = |flags: &[&str]| place.run(LIST.iter().chain(flags)).succeeded();
    let line = list(&["--preview", "--json", "--type", "api"]);
    let [_, _, api, _] = items();
    let preview = ",\"preview\":{\"first\":{\"role\":\"user\",\"content\":\"Hello?\",\
                   \"created_at\":\"2025-01-25 10:15:00\"},\"last\":{\"role\":\"assistant\",\
                   \"content\":\"Hi!\",\"created_at\":\"2025-01-25 10:16:00\"}}}\n";
    assert_eq!(line, format!("{}{preview}", &api[..api.len() - 1]));
    let table = list(&["--preview"]);
    assert!(table.contains("LAST MESSAGE") && table.contains("Hi!"), "{table}");
    place.run(LIST.iter().chain(&["--preview", "--count"])).failed(2);
}
