//! API reference page: served whole, with a policy that forbids external resources.

use crate::client::Response;
use crate::harness::Harness;

fn part(harness: &Harness, path: &str, media_type: &str) -> Response {
    let response = harness.server.request("GET", path, "Host: test\r\n");
    assert_eq!((response.status, response.header("content-type")), (200, media_type), "{path}");
    let policy = response.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"));
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(response.maybe_header("access-control-allow-origin"), None);
    response
}

#[test]
fn the_page_loads_no_external_resources() {
    let harness = Harness::new();
    let page = part(&harness, "/docs", "text/html; charset=utf-8");
    let style = part(&harness, "/docs/style.css", "text/css; charset=utf-8");
    let script = part(&harness, "/docs/page.js", "text/javascript; charset=utf-8");
    for text in [page.text(), style.text(), script.text()] {
        assert!(!text.contains("//cdn") && !text.contains("http://") && !text.contains("https://"));
        assert!(!text.contains("@import") && !text.contains("innerHTML"));
    }
    assert!(!page.text().contains("<style") && !page.text().contains(" style="));
    assert!(!page.text().contains(" onclick"), "the policy forbids inline code");
    // Every file that the page refers to is served.
    for path in page.text().split("=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        if path.ends_with(".css") || path.ends_with(".js") || path.ends_with(".json") {
            assert_eq!(
                harness.server.request("GET", &format!("/{path}"), "").status,
                200,
                "{path}"
            );
        }
    }
}
