//! Fuzz target: request bodies are accepted or rejected, without a server error. The first byte
//! selects the request.
#![no_main]

use convodb_fuzz::InProcessServer;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SERVER: InProcessServer = InProcessServer::new();
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let one = "/api/conversations/00000000-0000-0000-0000-000000000001";
    let messages = format!("{one}/messages");
    let (json, lines) = ("application/json", "application/x-ndjson");
    let (method, target, content_type) = match choice % 5 {
        0 => ("POST", "/api/conversations", json),
        1 => ("POST", messages.as_str(), json),
        2 => ("PATCH", one, json),
        3 => ("POST", "/api/user/conversations/import", lines),
        _ => ("POST", "/api/user/assistants", json),
    };
    SERVER.with(|server| {
        let status = server.request(method, target, content_type, body);
        assert!(matches!(status, 200 | 400 | 404 | 413 | 422), "{status}");
    });
});
