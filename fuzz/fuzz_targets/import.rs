//! Lines of an import: refused, or read to what is the same again when it was written.
#![no_main]

use convodb_http::item::Item;
use convodb_http::write_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(item) = Item::parse(data) else { return };
    let name = item.assistant_name.as_ref().map_or("Bot", |name| name.as_str());
    let mut line = Vec::new();
    write_line(&mut line, &item.conversation.borrowed(), name, Some(&item.messages));
    let again = Item::parse(&line).expect("a line that was written");
    let mut second = Vec::new();
    write_line(&mut second, &again.conversation.borrowed(), name, Some(&again.messages));
    assert!(line == second, "{} became {}", lossy(&line), lossy(&second));
});

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
