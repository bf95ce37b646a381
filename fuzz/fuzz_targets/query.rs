//! Query strings of the list, of exports and of lists by page number: a page or a refusal.
#![no_main]

use convodb_fuzz::Routes;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static ROUTES: Routes = Routes::new();
}

fuzz_target!(|data: &[u8]| {
    let Ok(query) = str::from_utf8(data) else { return };
    ROUTES.with(|routes| {
        for path in [
            "/api/user/conversations",
            "/api/user/conversations/export",
            "/api/user/assistants/get",
        ] {
            let status = routes.ask("GET", &format!("{path}?{query}"), "text/plain", &[]);
            assert!(matches!(status, 0 | 200 | 414 | 422), "{status}");
        }
    });
});
