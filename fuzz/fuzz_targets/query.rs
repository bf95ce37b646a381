//! Fuzz target: query strings of the list, the export and a list by page number are accepted or
//! rejected, without a server error.
#![no_main]

use convodb_fuzz::InProcessServer;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SERVER: InProcessServer = InProcessServer::new();
}

fuzz_target!(|data: &[u8]| {
    let Ok(query) = str::from_utf8(data) else { return };
    SERVER.with(|server| {
        for path in [
            "/api/user/conversations",
            "/api/user/conversations/export",
            "/api/user/assistants/get",
        ] {
            let status = server.request("GET", &format!("{path}?{query}"), "text/plain", &[]);
            assert!(matches!(status, 0 | 200 | 414 | 422), "{status}");
        }
    });
});
