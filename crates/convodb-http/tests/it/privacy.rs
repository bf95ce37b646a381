//! Privacy: personal data never appears in error responses, metrics or the log.

use crate::harness::{Harness, LIST, conversation, logged, whatsapp};

const SECRET: &str = "planted-secret";

#[test]
fn personal_data_stays_out_of_errors_metrics_and_the_log() {
    let harness = Harness::new();
    harness.insert(1..=3, &whatsapp("+4915273846015", "+4915273846026"));
    let page = harness.list("customer_phone=+4915273846026&per_page=1");
    assert_eq!(page.status, 200);
    let cursor = page.cursor("next_cursor").unwrap();
    // The digits are too long to occur by chance in a counter or a sum of times.
    let planted = [SECRET, &cursor, "15273846", &harness.token, &harness.other_token];
    let mut errors = Vec::new();
    for query in [
        format!("cursor={cursor}&customer_phone=+4915273846015"),
        format!("cursor={cursor}{SECRET}"),
        format!("type={SECRET}&assistant_id={SECRET}&per_page={SECRET}&created_from={SECRET}"),
        format!("customer_phone={}{SECRET}", "9".repeat(60)),
    ] {
        errors.push(harness.list(&query));
    }

    let one = format!("/api/conversations/{}", conversation(1).id);
    let contact = format!(r#"{{"name":"{SECRET}","phone":"+4915273846037"}}"#);
    for (method, target, body) in [
        ("POST", "/api/conversations", format!(r#"{{"assistant_id":1,"customer":{contact}}}"#)),
        (
            "POST",
            "/api/conversations",
            format!(
                r#"{{"assistant_id":"{SECRET}","id":"{SECRET}","type":"{SECRET}","created_at":"{SECRET}"}}"#
            ),
        ),
        ("POST", "/api/conversations", format!(r#"{{"{SECRET}":1,"variables":"{SECRET}"}}"#)),
        ("POST", "/api/conversations", format!(r#"{{"{SECRET}"#)),
        ("POST", "/api/conversations", SECRET.to_owned()),
        ("PATCH", &one, format!(r#"{{"external_identifier":"{SECRET}"}}"#)),
        ("PATCH", &one, format!(r#"{{"customer":{{"phone":"{}{SECRET}"}}}}"#, "9".repeat(60))),
        (
            "POST",
            &format!("{one}/messages"),
            format!(r#"{{"role":"{SECRET}","content":"{SECRET}"}}"#),
        ),
        (
            "POST",
            &format!("{one}/messages"),
            format!(r#"{{"message":"{SECRET}","cost":"{SECRET}"}}"#),
        ),
        ("POST", "/api/user/assistants", format!(r#"{{"name":"{}"}}"#, SECRET.repeat(20))),
        ("PATCH", "/api/user/assistants/planted-secret", format!(r#"{{"name":"{SECRET}"}}"#)),
    ] {
        errors.push(harness.send(method, target, &body));
    }
    errors.push(harness.list_of(SECRET, ""));
    errors.push(harness.server.request("GET", &format!("/{SECRET}"), ""));
    errors.push(harness.request(
        "GET",
        &format!("/api/conversations/{SECRET}"),
        &harness.token,
        "",
    ));
    errors.push(harness.send_typed(&harness.token, "POST", "/api/conversations", SECRET, b"{}"));
    errors.push(harness.server.request(SECRET, LIST, ""));
    for response in &errors {
        assert!((400..500).contains(&response.status), "{}", response.text());
        for planted in planted {
            assert!(!response.text().contains(planted), "{}", response.text());
        }
    }

    // An import reports rejected lines without their content; valid data can be written and read.
    let lines = format!("{SECRET}\n{{\"id\":\"{SECRET}\"}}\n{{\"{SECRET}\":1}}\n");
    let target = format!("{LIST}/import");
    let lines =
        harness.send_typed(&harness.token, "POST", &target, "application/jsonl", lines.as_bytes());
    assert_eq!((lines.status, lines.json()["rejected"].as_u64()), (200, Some(3)));
    assert!(!lines.text().contains(SECRET), "{}", lines.text());
    let body = format!(r#"{{"assistant_id":1,"type":"whatsapp","customer":{contact}}}"#);
    assert_eq!(harness.send("POST", "/api/conversations", &body).status, 200);
    let body = format!(r#"{{"message":"{SECRET}"}}"#);
    assert_eq!(harness.send("POST", &format!("{one}/messages"), &body).status, 200);
    assert!(harness.request("GET", &one, &harness.token, "").text().contains(SECRET));

    let metrics = harness.server.request("GET", "/metrics", "");
    let log = logged();
    assert!(log.contains("answered"), "requests are logged");
    for planted in planted {
        assert!(!metrics.text().contains(planted), "the metrics contain {planted}");
        assert!(!log.contains(planted), "the log contains {planted}");
    }
}
