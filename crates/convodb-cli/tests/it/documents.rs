//! Documents: the commands of docs/http-api.md run as pasted, in their order, against the demo, and
//! the answers that it shows are those of the server.
//!
//! A block of shell commands may be followed by a block of JSON: the answer. `"..."` stands for the
//! rest of it: of a text, as its end; of an array, as its last item; of an object, as its last field.
//! A time stands for any time of the same form. Everything else must be equal.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Deserializer, Value};

use crate::command::Place;
use crate::serve::Server;

/// The address in the documents; the test's server listens on another port.
const ADDRESS: &str = "127.0.0.1:8080";
/// Fields whose value depends on the machine: only its type is compared.
const MEASURED: [&str; 3] = ["entries", "bytes", "seconds"];

/// A block of commands, with the answer that the document shows.
struct Step<'t> {
    line: usize,
    commands: String,
    answer: Option<String>,
    /// The language of the last block of the step.
    last: &'t str,
}

/// Returns the steps of a document; its blocks of other languages are ignored.
fn steps(text: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim().strip_prefix("```") else { continue };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        match (language, steps.last_mut()) {
            ("sh", _) => {
                steps.push(Step { line: number + 1, commands: block, answer: None, last: "sh" });
            }
            ("json", Some(step)) if step.last == "sh" => {
                step.answer = Some(block);
                step.last = "json";
            }
            ("json", _) => panic!("line {}: an answer without commands", number + 1),
            (language, _) => assert!(!language.is_empty(), "line {}: no language", number + 1),
        }
    }
    steps
}

/// Runs all commands of a document in one shell, and compares the answers. `replaced` are texts of
/// the document and what they are in this test.
#[track_caller]
fn check(document: &str, server: &Server, place: &Place, replaced: &[(&str, &str)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(document)).unwrap();
    let steps = steps(&text);
    let mut script = "set -euo pipefail\n".to_owned();
    for (at, step) in steps.iter().enumerate() {
        let mut commands = step.commands.clone();
        for (from, to) in replaced {
            commands = commands.replace(from, to);
        }
        writeln!(script, "echo {at} >step; {{\n{commands}\n}} >answer.{at} 2>error.{at}").unwrap();
    }
    place.write("commands.sh", script);

    let binary = Path::new(env!("CARGO_BIN_EXE_convodb")).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([binary].into_iter().chain(std::env::split_paths(&path)));
    let status = Command::new("bash")
        .arg("commands.sh")
        .current_dir(place.path(""))
        .stdin(Stdio::null())
        .env("PATH", path.unwrap())
        .env("TOKEN", server.token.as_deref().unwrap())
        .status()
        .unwrap_or_else(|error| panic!("the documents need bash and curl: {error}"));
    let last: usize = place.read("step").trim().parse().unwrap();
    let failed = || {
        let (out, err) =
            (place.read(&format!("answer.{last}")), place.read(&format!("error.{last}")));
        format!(
            "{document}, line {}: {status}\n{}\n{out}\n{err}",
            steps[last].line, steps[last].commands
        )
    };
    assert!(status.success(), "{}", failed());
    assert_eq!(last + 1, steps.len());

    for (at, Step { line, commands, answer, .. }) in steps.iter().enumerate() {
        let Some(shown) = answer else { continue };
        let mut came = place.read(&format!("answer.{at}"));
        for (from, to) in replaced {
            came = came.replace(to, from);
        }
        let values = |text: &str| -> Vec<Value> {
            let values: Result<_, _> = Deserializer::from_str(text).into_iter().collect();
            values.unwrap_or_else(|error| panic!("{document}, line {line}: {error}\n{text}"))
        };
        let compared = compare(&Value::Array(values(shown)), &Value::Array(values(&came)), "");
        if let Err(difference) = compared {
            panic!("{document}, line {line}: {difference}\n{commands}\nanswered\n{came}");
        }
    }
}

/// Compares a shown value with one that came, at this place of the answer.
fn compare(shown: &Value, came: &Value, at: &str) -> Result<(), String> {
    let differs = || Err(format!("{at} is {came}, the document shows {shown}"));
    match (shown, came) {
        (Value::Array(shown), Value::Array(came)) => {
            let is_part = shown.last().is_some_and(|last| last == "...");
            let shown = if is_part { &shown[..shown.len() - 1] } else { &shown[..] };
            if shown.len() > came.len() || !is_part && shown.len() < came.len() {
                return Err(format!(
                    "{at} has {} items, the document shows {}",
                    came.len(),
                    shown.len()
                ));
            }
            let pairs = shown.iter().zip(came).enumerate();
            pairs
                .into_iter()
                .try_for_each(|(n, (shown, came))| compare(shown, came, &format!("{at}[{n}]")))
        }
        (Value::Object(shown), Value::Object(came)) => {
            let is_part = shown.contains_key("...");
            if let Some(more) = came.keys().find(|key| !is_part && !shown.contains_key(*key)) {
                return Err(format!("{at} has a field {more}, which the document does not show"));
            }
            shown.iter().filter(|(key, _)| *key != "...").try_for_each(|(key, value)| {
                let at = format!("{at}.{key}");
                let came = came.get(key).ok_or(format!("{at} is missing"))?;
                if MEASURED.contains(&key.as_str()) && value.is_number() && came.is_number() {
                    return Ok(());
                }
                compare(value, came, &at)
            })
        }
        (Value::String(shown), Value::String(came)) => {
            let is_part = |shown: &str| {
                shown.strip_suffix("...").is_some_and(|start| came.starts_with(start))
            };
            let form = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
            let is_time = form(shown).starts_with("0000-00-00") && form(shown) == form(came);
            if shown == came || is_part(shown) || is_time { Ok(()) } else { differs() }
        }
        _ if shown == came => Ok(()),
        _ => differs(),
    }
}

#[test]
fn the_commands_of_the_http_api_run_as_pasted() {
    let place = Place::empty();
    let flags = ["--demo", "--admin-socket", "admin.sock", "--backup-dir", "."];
    let server = Server::start(&place, &flags);
    check("docs/http-api.md", &server, &place, &[(ADDRESS, &server.address)]);
    server.stop("-TERM");
}

#[test]
fn a_shown_answer_is_compared() {
    let check = |shown: &str, came: &str, expected: Result<(), &str>| {
        let value = |text| serde_json::from_str(text).unwrap();
        let compared = compare(&value(shown), &value(came), "");
        assert_eq!(compared, expected.map_err(str::to_owned), "{shown} and {came}");
    };
    check(r#"{"a":[1,"x"]}"#, r#"{"a":[1,"x"]}"#, Ok(()));
    check(r#"{"a":[1,"..."],"...":"..."}"#, r#"{"a":[1,2,3],"b":4}"#, Ok(()));
    check(r#""ab...""#, r#""abc""#, Ok(()));
    check(r#""2025-01-25 10:15:00""#, r#""2026-11-02 09:00:01""#, Ok(()));
    check(r#"{"seconds":1}"#, r#"{"seconds":0.25}"#, Ok(()));
    check("1", "2", Err(" is 2, the document shows 1"));
    check(r#"{"a":{"b":1}}"#, r#"{"a":{}}"#, Err(".a.b is missing"));
    check("{}", r#"{"a":1}"#, Err(" has a field a, which the document does not show"));
    check("[1]", "[1,2]", Err(" has 2 items, the document shows 1"));
    check(r#""ab...""#, r#""b""#, Err(r#" is "b", the document shows "ab...""#));
    check(
        r#""2025-01-25""#,
        r#""2025-01-25 10:15:00""#,
        Err(r#" is "2025-01-25 10:15:00", the document shows "2025-01-25""#),
    );
}
