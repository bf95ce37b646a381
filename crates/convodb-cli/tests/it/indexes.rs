//! `indexes`, and what needs them.

use crate::command::Place;
use crate::import::items;

/// The items of the import tests, oldest first; the AI of the first two is off.
fn rows() -> Vec<String> {
    let off = |item: &String| item.replace("\"ai_enabled\":true", "\"ai_enabled\":false");
    let items = items();
    let (off, on) = (items[..2].iter().map(off), items[2..].iter().cloned());
    off.chain(on).collect()
}

fn filled() -> Place {
    let place = Place::with_user();
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    place.run_with(import, rows().join("\n").as_bytes()).succeeded();
    place
}

#[test]
fn indexes_are_listed_added_and_dropped() {
    let place = filled();
    let indexes =
        |args: &[&str]| place.run(["indexes"].iter().chain(args).chain(&["--db", "s.convodb"]));
    let json = |state: &str| {
        format!(
            "{{\"index\":\"ai-off\",\"state\":\"{state}\"}}\n\
             {{\"index\":\"last-activity\",\"state\":\"absent\"}}\n\
             {{\"index\":\"previews\",\"state\":\"absent\"}}\n\
             {{\"index\":\"counters\",\"state\":\"absent\"}}\n"
        )
    };
    assert_eq!(indexes(&["list", "--json"]).succeeded(), json("absent"));
    assert_eq!(indexes(&["add", "ai-off", "--json"]).succeeded(), json("ready"));
    assert!(indexes(&["list"]).succeeded().contains("ready"));
    let again = indexes(&["add", "ai-off,ai-off"]);
    assert!(again.err.contains("ai-off: already there"), "{again:?}");
    assert_eq!(again.succeeded(), "");
    place.run(["verify", "--db", "s.convodb"]).succeeded();
    assert_eq!(indexes(&["drop", "ai-off", "--json"]).succeeded(), json("absent"));
    let absent = indexes(&["drop", "ai-off"]);
    assert!(absent.err.contains("ai-off: not there"), "{absent:?}");
    absent.succeeded();
    let both = indexes(&["add", "counters,ai-off"]);
    assert!(both.err.contains("added ai-off,counters"), "{both:?}");
    both.succeeded();
    let some = indexes(&["drop", "previews,ai-off"]);
    assert!(some.err.contains("dropped ai-off; previews: not there"), "{some:?}");
    some.succeeded();
}

/// Adding or dropping nothing is a mistake, which no success must hide.
#[test]
fn at_least_one_index_must_be_named() {
    let place = filled();
    for verb in ["add", "drop"] {
        for names in ["none", "", "unknown", "ai-off,", "none,ai-off", "AI-OFF"] {
            let refused = place.run(["indexes", verb, names, "--db", "s.convodb"]).failed(2);
            let rule = "must be one or more of ai-off, last-activity, previews, counters";
            assert!(refused.contains(rule), "{verb} {names}: {refused}");
        }
    }
}

#[test]
fn a_list_of_conversations_whose_ai_is_off_needs_its_index() {
    let place = filled();
    let list = ["list", "--db", "s.convodb", "--user", "acme", "--ai-off", "--json"];
    let refused = place.run(list).failed(1);
    assert!(refused.contains("convodb indexes add ai-off"), "{refused}");
    place.run(["indexes", "add", "ai-off", "--db", "s.convodb"]).succeeded();
    let [first, second] = [1, 0].map(|number| rows()[number].clone());
    assert_eq!(place.run(list).succeeded(), format!("{first}\n{second}\n"));
    let phone = place.run(list.iter().chain(&["--customer-phone", "+1"])).failed(1);
    assert!(phone.contains("cannot be combined"), "{phone}");
}
