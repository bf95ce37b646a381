//! `import`: every compression, repeated runs, and invalid lines.

use std::io::Write;

use crate::command::Place;

const ASSISTANT: &str = "a1b2c3d4-5678-40ab-8def-1234567890ab";

/// Four conversations, one of each type, as `list` prints them, oldest first.
pub(crate) fn items() -> [String; 4] {
    let item = |n: u8, kind: &str, variables: &str, rest: &str, ends: &str| {
        format!(
            "{{\"id\":\"7c9e6679-7425-40de-944b-e07fc1f90ae{n}\",\"assistant_id\":\"{ASSISTANT}\",\
             \"assistant_name\":\"Support\",\"type\":\"{kind}\",\"variables\":{variables}{rest},\
             \"message_count\":2,\"total_cost\":0.0032,\"ai_enabled\":true,\
             \"created_at\":\"2025-01-2{n} 10:15:00\",\"updated_at\":\"2025-01-2{n} 10:28:45\"{ends}}}"
        )
    };
    let contacts = ",\"whatsapp_sender\":{\"name\":\"Acme\",\"phone\":\"+15550100001\"},\
                    \"customer\":{\"name\":null,\"phone\":\"+4915550100001\"}";
    [
        item(1, "test", "null", "", ""),
        item(2, "widget", "{\"a\": 1.10}", "", ""),
        item(3, "api", "null", ",\"external_identifier\":\"crm-1\"", ""),
        item(4, "whatsapp", "null", "", contacts),
    ]
}

/// The same as the lines of a file, with two messages each.
pub(crate) fn file() -> Vec<u8> {
    let messages = ",\"messages\":[\
         {\"role\":\"user\",\"content\":\"Hello?\",\"created_at\":\"2025-01-25 10:15:00\"},\
         {\"role\":\"assistant\",\"content\":\"Hi!\",\"created_at\":\"2025-01-25 10:16:00\"}]}\n";
    items().map(|item| format!("{}{messages}", &item[..item.len() - 1])).concat().into_bytes()
}

fn import(path: &str) -> [&str; 6] {
    ["import", "--db", "s.convodb", "--user", "acme", path]
}

#[track_caller]
fn check_store(place: &Place) {
    let list = ["list", "--db", "s.convodb", "--user", "acme", "--order", "asc", "--json"];
    assert_eq!(place.run(list).succeeded(), items().map(|item| item + "\n").concat());
    let audit = place.run(["verify", "--db", "s.convodb", "--json"]).succeeded();
    assert!(audit.starts_with(r#"{"conversations":4,"messages":8,"#), "{audit}");
    assert!(
        audit.contains(r#""fault_count":0,"faults":[],"warning_count":0,"warnings":[]}"#),
        "{audit}"
    );
}

#[test]
fn every_compression_imports_the_same_store() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&file()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(file().as_slice(), 1).unwrap();
    let unnamed = gzip.clone();
    for (name, bytes) in
        [("c.jsonl", file()), ("c.jsonl.gz", gzip), ("c.jsonl.zst", zstd), ("c", unnamed)]
    {
        let place = Place::with_user();
        place.write(name, bytes);
        let ran = place.run(import(name));
        let summary = "inserted 4 conversations with 8 messages, created 1 assistant (";
        assert!(ran.err.starts_with(summary), "{ran:?}");
        assert_eq!(ran.succeeded(), "");
        check_store(&place);
    }
}

/// Our own exports, in each format, and a response of the API with one conversation.
#[test]
fn an_array_csv_and_a_single_conversation_are_imported() {
    let lines = String::from_utf8(file()).unwrap();
    let array = format!("\u{feff}[\n{}\n]\n", lines.trim_end().replace('\n', ",\n"));
    let single = lines.replace(",\"messages\":[", ",\"next_cursor\":null,\"history\":[");
    assert_ne!(single, lines);
    for input in [array, single] {
        let place = Place::with_user();
        place.run_with(import("-"), input.as_bytes()).succeeded();
        check_store(&place);
    }

    let source = Place::with_user();
    source.run_with(import("-"), &file()).succeeded();
    for flags in [&["e.csv"][..], &["e.csv.gz"], &["--csv-safe", "e.csv.zst"]] {
        let export = ["export", "--db", "s.convodb", "--user", "acme"];
        source.run(export.iter().chain(flags)).succeeded();
        let name = flags[flags.len() - 1];
        let place = Place::with_user();
        place.write(name, std::fs::read(source.path(name)).unwrap());
        place.run(import(name)).succeeded();
        let list = ["list", "--db", "s.convodb", "--user", "acme", "--order", "asc", "--json"];
        assert_eq!(place.run(list).succeeded(), items().map(|item| item + "\n").concat(), "{name}");
    }
}

#[test]
fn a_record_of_csv_is_rejected_by_its_line() {
    let place = Place::with_user();
    let id = "7c9e6679-7425-40de-944b-e07fc1f90ae1";
    let csv = format!(
        "id,type,assistant_id,assistant_name,created_at,message_count\n\
         {id},test,{ASSISTANT},Bot,2025-01-25 10:15:00,\n\
         {id},test,{ASSISTANT}\n\
         {id},test,{ASSISTANT},Bot,2025-01-25 10:15:00,many\n\
         {id},test,{ASSISTANT},Bot,01/02/2025,\n"
    );
    place.write("c.csv", csv);
    assert_eq!(place.run(import("c.csv")).code, Some(3));
    let rejects = place.read("c.csv.rejects.jsonl");
    let expected = [
        (3, "the record has another number of cells than the header"),
        (4, "message_count must be a whole number"),
        (5, "created_at must begin with the year"),
    ];
    for (line, (number, reason)) in rejects.lines().zip(expected) {
        let expected = format!("{{\"line\":{number},\"reason\":\"{reason}");
        assert!(line.starts_with(&expected), "{line}");
    }
    assert_eq!(rejects.lines().count(), 3);
}

/// One hint, no rejects, and nothing is created.
#[test]
fn an_input_of_another_format_is_refused_as_a_whole() {
    let place = Place::with_user();
    let store = std::fs::read(place.path("s.convodb")).unwrap();
    let utf_16: Vec<u8> = "{\"id\":1}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, hint) in [
        (store, "a store or a backup of convodb"),
        (b"name,city\nA,B\n".to_vec(), "CSV of other columns: the column id is missing"),
        (utf_16, "iconv -f UTF-16"),
        (b"{\"data\":[],\"next_cursor\":null}\n".to_vec(), "jq -c '.data[]'"),
    ] {
        place.write("input", bytes);
        let command = ["import", "--db", "new.convodb", "--user", "acme", "--create-user", "input"];
        let error = place.run(command).failed(1);
        assert!(error.starts_with("error: cannot import input: it is "), "{error}");
        assert!(error.contains(hint), "{error}");
        assert!(!place.path("new.convodb").exists() && !place.path("input.rejects.jsonl").exists());
    }
}

/// A history of more than 64 MiB is one line; `--memory` says how long it may be.
#[test]
fn a_long_history_is_imported_with_enough_memory() {
    let place = Place::with_user();
    let message = format!(
        "{{\"role\":\"user\",\"content\":\"{}\",\"created_at\":\"2025-01-25\"}}",
        "x".repeat(1 << 20)
    );
    let [item, ..] = items();
    let item = item.replace("\"message_count\":2", "\"message_count\":66");
    let head = item.strip_suffix('}').unwrap();
    place.write("c.jsonl", format!("{head},\"messages\":[{}]}}\n", vec![message; 66].join(",")));
    let memory = |size: &'static str| import("c.jsonl").into_iter().chain(["--memory", size]);
    let ran = place.run(memory("64MiB"));
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let rejects = place.read("c.jsonl.rejects.jsonl");
    assert!(rejects.contains("more than 67108864 bytes, the larger of 64 MiB and --memory"));
    place.run(memory("72MiB")).succeeded();
    place
        .run(["export", "--db", "s.convodb", "--user", "acme", "--messages", "e.jsonl"])
        .succeeded();
    let import = ["import", "--db", "t.convodb", "--user", "acme", "--create-user", "e.jsonl"];
    let ran = place.run(import);
    assert!(ran.err.starts_with("inserted 1 conversation with 66 messages"), "{ran:?}");
}

#[test]
fn standard_input_is_imported() {
    let place = Place::with_user();
    place.run_with(import("-"), &file()).succeeded();
    check_store(&place);
}

#[test]
fn a_second_run_changes_nothing_and_says_so() {
    let place = Place::with_user();
    place.write("c.jsonl", file());
    place.run(import("c.jsonl")).succeeded();
    place.run(["assistant", "rename", "--db", "s.convodb", "--user", "acme", "1", "Renamed"]);
    let ran = place.run(import("c.jsonl"));
    let summary = "nothing changed: 4 conversations already existed (";
    assert!(ran.err.starts_with(summary), "{ran:?}");
    ran.succeeded();

    let list = ["list", "--db", "s.convodb", "--user", "acme", "--json"];
    let renamed = items().map(|item| item.replace("Support", "Renamed") + "\n");
    let newest_first: String = renamed.into_iter().rev().collect();
    assert_eq!(place.run(list).succeeded(), newest_first, "an assistant keeps its name");

    let again = place.run(import("c.jsonl").into_iter().chain(["--json"])).succeeded();
    let expected =
        r#"{"inserted":0,"already_present":4,"repeated":0,"messages":0,"assistants_created":0,"#;
    assert!(again.starts_with(expected), "{again}");
}

#[test]
fn the_output_of_list_can_be_imported() {
    let place = Place::with_user();
    place.write("c.jsonl", file());
    place.run(import("c.jsonl")).succeeded();
    // Two of one second: oldest first, they keep their order.
    let [first, ..] = items();
    let twin = first.replace(&first[7..43], "00000000-0000-4000-8000-00000000000f");
    place.run_with(["import", "--db", "s.convodb", "--user", "acme", "-"], twin.as_bytes());
    let list = ["list", "--db", "s.convodb", "--user", "acme", "--all", "--json", "--order", "asc"];
    let exported = place.run(list).succeeded();
    assert_eq!(exported.lines().count(), 5);

    let import = ["import", "--db", "other.convodb", "--user", "new", "--create-user", "-"];
    place.run_with(import, exported.as_bytes()).succeeded();
    let list =
        ["list", "--db", "other.convodb", "--user", "new", "--all", "--json", "--order", "asc"];
    assert_eq!(place.run(list).succeeded(), exported);
}

#[test]
fn of_two_lines_with_one_id_the_first_is_imported() {
    let place = Place::with_user();
    let [first, ..] = items();
    let second = first.replace("\"message_count\":", "\"message_count\":1");
    assert_ne!(first, second);
    let ran = place.run_with(
        ["import", "--db", "s.convodb", "--user", "acme", "-"],
        format!("{first}\n{second}\n").as_bytes(),
    );
    assert!(ran.err.contains("1 line skipped: an earlier line of the input has the same id"));
    ran.succeeded();
    let list = ["list", "--db", "s.convodb", "--user", "acme", "--json"];
    assert_eq!(place.run(list).succeeded(), format!("{first}\n"));
}

#[test]
fn rejects_never_overwrite_the_store_or_the_input() {
    let place = Place::with_user();
    place.write("c.jsonl", "not json\n");
    for precious in ["s.convodb", "c.jsonl", "./c.jsonl"] {
        let ran = place.run(import("c.jsonl").into_iter().chain(["--rejects", precious]));
        assert!(ran.failed(2).contains("choose another"), "{precious}");
    }
    assert_eq!(place.run(["verify", "--db", "s.convodb", "--json"]).succeeded().lines().count(), 1);
}

#[test]
fn invalid_lines_are_rejected_with_their_reason() {
    let [first, second, ..] = items();
    let few = second.replace("\"message_count\":2", "\"message_count\":0");
    let few = format!(
        "{},\"messages\":[{{\"role\":\"user\",\"content\":\"a\",\
                       \"created_at\":\"2025-01-25\"}}]}}",
        &few[..few.len() - 1]
    );
    let nameless = second
        .replace("\"assistant_name\":\"Support\",", "")
        .replace(ASSISTANT, "00000000-0000-4000-8000-000000000000");
    let lines = ["{\"id\":", "", "{}", &first, &few, &nameless, "not json"];

    let place = Place::with_user();
    place.write("c.jsonl", lines.join("\n"));
    let ran = place.run(import("c.jsonl"));
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.starts_with("inserted 1 conversation with 0 messages"), "{ran:?}");
    assert!(ran.err.contains("5 lines rejected; lines and reasons are in c.jsonl.rejects.jsonl"));
    let first = "the first one is line 1: the line is not valid JSON at column 6\n";
    assert!(ran.err.ends_with(first), "{ran:?}");

    let rejects = place.read("c.jsonl.rejects.jsonl");
    let rejects: Vec<serde_json::Value> =
        rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = rejects.iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 5, 6, 7]);
    for reject in &rejects {
        let number = usize::try_from(reject["line"].as_u64().unwrap()).unwrap();
        assert_eq!(reject["text"], lines[number - 1]);
    }
    let reason = |at: usize| rejects[at]["reason"].as_str().unwrap().to_owned();
    assert!(reason(0).contains("not valid JSON"), "{}", reason(0));
    assert!(reason(2).contains("message_count must not be less"), "{}", reason(2));
    assert!(reason(3).contains("assistant_name must be given"), "{}", reason(3));

    let ran = place.run(import("c.jsonl").into_iter().chain(["--rejects", "r.jsonl", "--json"]));
    assert_eq!(ran.code, Some(3));
    let summary: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(summary["rejected"], 5);
    assert_eq!(summary["rejects_file"], "r.jsonl");
    assert_eq!(place.read("r.jsonl"), place.read("c.jsonl.rejects.jsonl"));
}

#[test]
fn a_truncated_input_is_imported_up_to_its_end() {
    let place = Place::with_user();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&file()).unwrap();
    let mut gzip = gzip.finish().unwrap();
    // Without the checksum at the end, but with every line.
    gzip.truncate(gzip.len() - 4);
    place.write("c.jsonl.gz", gzip);
    let error = place.run(import("c.jsonl.gz")).failed(1);
    assert!(error.contains("stopped before the end of c.jsonl.gz"), "{error}");
    check_store(&place);
}

#[test]
fn an_import_for_a_missing_user_suggests_creating_it() {
    let place = Place::with_user();
    place.write("c.jsonl", file());
    let error = place.run(["import", "--db", "s.convodb", "--user", "bob", "c.jsonl"]).failed(1);
    assert!(error.contains("`convodb user create --db s.convodb bob`"), "{error}");
    assert!(place.run(import("missing.jsonl")).failed(1).contains("cannot open missing.jsonl"));
}

#[test]
fn flags_of_an_import_from_a_server_are_refused_for_a_file() {
    let place = Place::with_user();
    place.write("c.jsonl", file());
    for flag in ["--update", "--restart", "--since=2025-01-25"] {
        let error = place.run(import("c.jsonl").into_iter().chain([flag])).failed(2);
        assert!(error.contains("needs --from-api URL"), "{error}");
    }
}
