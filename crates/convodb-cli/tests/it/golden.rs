//! Stores that older versions wrote, as files of the repository: each is opened, brought to this
//! version's format, and is what it was. A file is never made anew: what it holds was written by the
//! version that it is named after, which was killed with its last write only in the log.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::command::Place;

/// A directory with the store that a version of this format wrote.
fn place(format: &str) -> Place {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format);
    let place = Place::empty();
    for entry in fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match name.strip_suffix(".gz") {
            Some(name) => {
                let mut bytes = Vec::new();
                let mut packed = flate2::read::GzDecoder::new(fs::File::open(&path).unwrap());
                packed.read_to_end(&mut bytes).unwrap();
                place.write(name, bytes);
            }
            None => place.write(name, fs::read(&path).unwrap()),
        }
    }
    place
}

const STORE: [&str; 4] = ["--db", "store.convodb", "--user", "golden"];

#[test]
fn a_store_of_format_1_is_what_it_was() {
    let place = place("v1");
    let expected = place.read("list.jsonl");
    assert!(expected.contains("\"message_count\":4"), "with what only the log has");
    for _ in 0..2 {
        let list = place.run([&["list", "--all", "--json"], &STORE[..]].concat()).succeeded();
        assert_eq!(list, expected);
        place.run(["verify", "--db", "store.convodb"]).succeeded();
    }
}

/// What clients of the older version have in hand still works: a cursor goes on where it was, and a
/// token is still known.
#[test]
fn cursors_and_tokens_of_format_1_are_still_good() {
    let place = place("v1");
    let cursor = "AQGkH5l_akuh2GZKjUveUQr1rRp1v4msolPMZo4";
    let args = ["list", "--json", "--per-page", "7", "--cursor", cursor];
    let page = place.run([&args, &STORE[..]].concat()).succeeded();
    let expected: Vec<String> =
        place.read("list.jsonl").lines().skip(7).take(7).map(str::to_owned).collect();
    assert_eq!(page.lines().collect::<Vec<_>>(), expected);

    let token = b"cvdb_v5SKVjjPFHvz4gHcIFaR2CHXjsidIuNZ1ljjGLuvhmk";
    let revoke = ["token", "revoke", "--db", "store.convodb", "-"];
    place.run_with(revoke, token).succeeded();
    place.run_with(revoke, token).failed(1);
}
