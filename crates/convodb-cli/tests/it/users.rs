//! `user` and `assistant`: `create` prints one value alone, for scripts.

use crate::command::Place;

#[track_caller]
pub(crate) fn one_value(printed: &str) -> &str {
    let value = printed.strip_suffix('\n').unwrap();
    assert!(!value.is_empty() && !value.contains(char::is_whitespace), "{printed:?}");
    value
}

#[test]
fn creating_a_user_prints_its_number() {
    let place = Place::empty();
    let printed = place.run(["user", "create", "--db", "s.convodb", "acme"]).succeeded();
    assert_eq!(one_value(&printed), "1");
    let printed = place.run(["user", "create", "--db", "s.convodb", "other"]).succeeded();
    assert_eq!(one_value(&printed), "2");

    let error = place.run(["user", "create", "--db", "s.convodb", "acme"]).failed(1);
    assert!(error.contains("already exists"), "{error}");

    let lines = place.run(["user", "list", "--db", "s.convodb", "--json"]).succeeded();
    assert!(lines.starts_with(r#"{"id":1,"name":"acme","created_at":"20"#), "{lines}");
    assert_eq!(lines.lines().count(), 2);
    let table = place.run(["user", "list", "--db", "s.convodb"]).succeeded();
    assert!(table.starts_with("ID  NAME "), "{table}");
}

#[test]
fn a_renamed_assistant_keeps_its_id() {
    let place = Place::with_user();
    let user = ["--db", "s.convodb", "--user", "acme"];
    let create = ["assistant", "create"].into_iter().chain(user).chain(["Front Desk"]);
    let printed = place.run(create).succeeded();
    let id = one_value(&printed);

    let by_id = ["assistant", "rename"].into_iter().chain(user).chain([id, "Desk"]);
    assert_eq!(place.run(by_id).succeeded(), "");
    let by_number = ["assistant", "rename"].into_iter().chain(user).chain(["1", "Reception"]);
    assert_eq!(place.run(by_number).succeeded(), "");

    let list = ["assistant", "list", "--json"].into_iter().chain(user);
    let expected = format!("{{\"id\":1,\"uuid\":\"{id}\",\"name\":\"Reception\"}}\n");
    assert_eq!(place.run(list).succeeded(), expected);
    let list = ["assistant", "list"].into_iter().chain(user);
    let expected =
        format!("NUMBER  ID{}  NAME\n     1  {id}  Reception\n", " ".repeat(id.len() - 2));
    assert_eq!(place.run(list).succeeded(), expected);

    let unknown = ["assistant", "rename"].into_iter().chain(user).chain(["7", "x"]);
    assert!(place.run(unknown).failed(1).contains("assistant 7 not found"));
}

#[test]
fn a_missing_store_or_user_is_not_created() {
    let place = Place::with_user();
    let error = place.run(["token", "create", "--db", "typo.convodb", "--user", "acme"]).failed(1);
    assert!(error.contains("`convodb user create --db typo.convodb NAME`"), "{error}");
    assert!(!place.path("typo.convodb").exists());

    let error = place.run(["token", "create", "--db", "s.convodb", "--user", "bob"]).failed(1);
    assert!(error.contains("cannot create a token of the user bob: user not found"), "{error}");
    assert!(error.contains("`convodb user create --db s.convodb NAME`"), "{error}");
}

#[test]
fn a_file_that_is_not_a_store_is_left_unchanged() {
    let place = Place::empty();
    for (name, bytes) in [("text", b"hello".repeat(2000)), ("empty", Vec::new())] {
        place.write(name, &bytes);
        let error = place.run(["verify", "--db", name]).failed(1);
        assert!(error.contains("not a convodb store"), "{error}");
        assert_eq!(std::fs::read(place.path(name)).unwrap(), bytes);
    }
}

#[test]
fn environment_variables_set_flags() {
    let place = Place::with_user();
    let run = |json: &str| {
        let mut command = place.command(["user", "list"]);
        command.env("CONVODB_DB", "s.convodb").env("CONVODB_JSON", json).output().unwrap()
    };
    for json in ["1", "true"] {
        assert!(run(json).stdout.starts_with(b"{\"id\":1,"), "{json}");
    }
    for table in ["0", "false"] {
        assert!(run(table).stdout.starts_with(b"ID  NAME"), "{table}");
    }
    assert_eq!(run("maybe").status.code(), Some(2));
}

/// What an earlier command left in the environment neither chooses nor confirms a deletion.
#[test]
fn no_variable_chooses_what_is_deleted() {
    let place = Place::with_user();
    place.run(["user", "create", "--db", "s.convodb", "other"]).succeeded();
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    let line = |row: u8, phone: &str| {
        format!(
            "{{\"id\":\"0000000{row}-0000-4000-8000-000000000000\",\
             \"assistant_id\":\"a1b2c3d4-5678-40ab-8def-1234567890ab\",\
             \"assistant_name\":\"Bot\",\"type\":\"whatsapp\",\"customer\":{{\"phone\":\"{phone}\"}},\
             \"created_at\":\"2025-01-25\"}}\n"
        )
    };
    let lines = line(1, "+1") + &line(2, "+2");
    place.run_with(import, lines.as_bytes()).succeeded();
    let listed = || {
        let list = ["list", "--db", "s.convodb", "--user", "acme", "--json", "--all"];
        place.run(list).succeeded().lines().count()
    };
    let run = |args: &[&str]| {
        let mut command = place.command(args);
        for (name, value) in [
            ("EVERYTHING", "false"),
            ("YES", "true"),
            ("CUSTOMER_PHONE", "+2"),
            ("EXTERNAL_IDENTIFIER", "x"),
            ("USER", "acme"),
            ("KEEP", "1"),
            ("ALL", "true"),
        ] {
            command.env(format!("CONVODB_{name}"), value);
        }
        command.output().unwrap()
    };
    let id = "00000001-0000-4000-8000-000000000000";
    for refused in [
        &["erase", "--db", "s.convodb", "--user", "acme", "--yes"][..],
        &["erase", "--db", "s.convodb", "--everything", "--yes"],
        &["erase", "--db", "s.convodb", "--user", "acme", "--everything"],
        &["delete", "--db", "s.convodb", "--user", "acme", id],
        &["delete", "--db", "s.convodb", "--yes", id],
        &["prune", "--db", "s.convodb"],
        &["token", "revoke", "--db", "s.convodb", "--yes"],
        &["assistant", "delete", "--db", "s.convodb", "1"],
    ] {
        let output = run(refused);
        assert_eq!(output.status.code(), Some(2), "{refused:?}: {output:?}");
        assert_eq!(listed(), 2, "{refused:?}");
    }
    let one = ["erase", "--db", "s.convodb", "--user", "acme", "--customer-phone", "+1", "--yes"];
    let output = run(&one);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(listed(), 1, "only what the flag names");
}
