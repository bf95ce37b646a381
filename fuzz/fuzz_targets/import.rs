//! Fuzz target: an import line is rejected, or exports to a line that imports and exports to the
//! same bytes.
#![no_main]

use convodb_json::Item;
use convodb_json::write_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(item) = Item::parse(data) else { return };
    let name = item.assistant_name.as_ref().map_or("Bot", |name| name.as_str());
    let mut line = Vec::new();
    write_line(&mut line, &item.conversation.borrowed(), name, Some(&item.messages));
    let again = Item::parse(&line).expect("an exported line");
    let mut second = Vec::new();
    write_line(&mut second, &again.conversation.borrowed(), name, Some(&again.messages));
    assert!(line == second, "{} changed to {}", lossy(&line), lossy(&second));
});

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
