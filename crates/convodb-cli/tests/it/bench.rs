//! `bench`: its JSON, its page, and that a store of one's own is not changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use convodb::Store;
use serde_json::Value;

use crate::command::Place;
use crate::maintenance::filled;

const QUICK: [&str; 10] = [
    "bench",
    "--quick",
    "--cold",
    "2",
    "--threads",
    "1,2",
    "--users",
    "2",
    "--page-sizes",
    "15,100",
];

fn run(place: &Place, flags: &[&str]) -> Value {
    let out = place.run(QUICK.iter().chain(flags).chain(&["--json"])).succeeded();
    serde_json::from_str(&out).unwrap()
}

fn list<'a>(result: &'a Value, name: &str) -> &'a [Value] {
    result[name].as_array().unwrap_or_else(|| panic!("{name} is no list"))
}

/// No page reads more than its bound, in any of the lists.
#[track_caller]
fn check_bounds(result: &Value) {
    for name in ["pages", "reads"] {
        for found in list(result, name) {
            let number = |field: &str| found[field].as_u64();
            let (Some(entries), Some(rows)) = (number("entries"), number("rows_read")) else {
                assert_ne!(found["engine"], "convodb", "{found}");
                continue;
            };
            let bound = number("bound").unwrap();
            assert_eq!(bound, 10 * (number("page_size").unwrap() + 1));
            assert!(entries + rows <= bound, "{found}");
        }
    }
}

/// The page is well-formed, and asks no other host for anything.
#[track_caller]
fn check_page(html: &str) {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let page = roxmltree::Document::parse_with_options(html, options).unwrap();
    let mut charts = 0;
    for node in page.descendants().filter(roxmltree::Node::is_element) {
        let tag = node.tag_name().name();
        charts += usize::from(tag == "svg");
        assert!(!["script", "link", "img", "iframe", "object", "use"].contains(&tag), "{tag}");
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(!["src", "href", "srcset", "action"].contains(&name), "{tag} {name}");
            assert!(!attribute.value().contains("url("), "{tag} {}", attribute.value());
        }
    }
    assert!(charts >= 8, "{charts} charts");
    let without_namespace = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for other in ["http:", "https:", "//", "@import", "url("] {
        assert!(!without_namespace.contains(other), "{other} in the page");
    }
}

fn files(place: &Place) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(place.path(".")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_generated_store_is_measured_and_removed() {
    let place = Place::empty();
    let flags = ["--rows", "4000", "--directory", ".", "--writes", "--memory", "--html", "b.html"];
    let result = run(&place, &flags);
    assert_eq!((&result["format"], &result["version"]), (&"convodb-bench".into(), &1.into()));
    let store = &result["store"];
    assert_eq!((&store["rows"], &store["generated"]), (&4000.into(), &true.into()));
    check_bounds(&result);
    let text = |found: &Value, field: &str| found[field].as_str().unwrap().to_owned();
    let depths = list(&result, "pages").iter().map(|page| text(page, "depth"));
    let depths: BTreeSet<String> = depths.collect();
    assert_eq!(Vec::from_iter(depths), ["backward", "deep", "first", "last", "row"]);
    let filters = list(&result, "reads").iter().map(|read| text(read, "filters"));
    assert_eq!(filters.collect::<BTreeSet<String>>().len(), 32);
    let all = &list(&result, "reads")[0];
    let rows = all["rows"].as_u64().unwrap();
    assert_eq!(Some(rows), list(&result, "users")[0]["rows"].as_u64());
    // Each page once forward, and all but the last once more backward.
    assert_eq!(all["pages"].as_u64(), Some(2 * rows.div_ceil(15) - 1));
    let threads: Vec<_> = list(&result, "readers").iter().map(|found| &found["threads"]).collect();
    assert_eq!(threads, [1, 2]);
    assert!(list(&result, "cold").iter().all(|cold| cold["page"]["samples"] == 2));
    assert!(result["writes"]["insert"]["p50_ns"].as_u64() > Some(0));
    assert_eq!(list(&result, "memory").is_empty(), !cfg!(target_os = "linux"));
    check_page(&place.read("b.html"));
    let names: Vec<_> = files(&place).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, [place.path("./b.html")], "the generated store is removed");
}

#[test]
fn a_store_of_ones_own_is_not_changed_and_its_texts_stay_private() {
    let place = filled();
    let before = files(&place);
    let result = run(&place, &["--db", "s.convodb"]);
    assert!(files(&place) == before, "a file was changed");
    check_bounds(&result);
    assert_eq!(result["store"]["rows"], 4);
    assert_eq!(result["writes"], Value::Null);
    let table = place.run(QUICK.iter().chain(&["--db", "s.convodb", "--html", "b.html"]));
    let shown = [table.succeeded(), place.read("b.html"), result.to_string()].concat();
    for private in ["acme", "Support", "s.convodb", "+1"] {
        assert!(!shown.contains(private), "{private} is shown");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_before_the_run() {
    let place = filled();
    let fails = |flags: &[&str], code| place.run(QUICK.iter().chain(flags)).failed(code);
    assert!(fails(&["--db", "s.convodb", "--writes"], 2).contains("cannot be used with"));
    assert!(fails(&["--rows", "0"], 2).contains("--rows"));
    assert!(fails(&["--html", "-"], 2).contains("--html needs a file"));
    assert!(fails(&["--db", "typo.convodb"], 1).contains("no store at"));
    place.write("taken.html", "mine");
    let taken = fails(&["--db", "s.convodb", "--html", "taken.html"], 1);
    assert!(taken.contains("already exists") && place.read("taken.html") == "mine", "{taken}");
    let empty = Place::with_user().run(QUICK.iter().chain(&["--db", "s.convodb"])).failed(1);
    assert!(empty.contains("no conversations"), "{empty}");

    let open = Store::open(place.path("s.convodb")).unwrap();
    let in_use = fails(&["--db", "s.convodb"], 1);
    assert!(in_use.contains("in use by another process"), "{in_use}");
    assert!(in_use.contains("backup"), "{in_use}");
    open.close().unwrap();
    assert!(Path::new(&place.path("s.convodb")).exists());
}

#[test]
fn sqlite_returns_the_same_pages_if_it_is_built_in() {
    let place = Place::empty();
    let flags = ["--rows", "3000", "--directory", ".", "--against", "sqlite"];
    if !cfg!(feature = "sqlite") {
        let failed = place.run(QUICK.iter().chain(&flags)).failed(2);
        assert!(failed.contains("cargo feature `sqlite`"), "{failed}");
        return;
    }
    let result = run(&place, &flags);
    assert!(list(&result, "against")[0]["compared_pages"].as_u64() > Some(100), "{result}");
    for engine in ["sqlite", "sqlite-offset"] {
        let found = list(&result, "pages").iter().any(|page| page["engine"] == engine);
        assert!(found, "{engine} was not measured");
    }
    check_bounds(&result);
}
