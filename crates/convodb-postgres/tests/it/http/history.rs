//! One history written through both servers, and everything that can be read of it.

use std::fmt::Write as _;

use crate::http::client::{ASSISTANTS, Both, Response};

/// A pseudo-random number generator (xorshift64), so that the history is the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

fn id(number: u64) -> String {
    format!("c0000000-0000-4000-8000-{number:012}")
}

const PHONES: [&str; 3] = ["+14155551234", "+14155559876", "+4915112345678"];
const IDENTIFIERS: [&str; 2] = ["order 7", "order 8"];

/// The body of a new conversation.
fn conversation(random: &mut Random, number: u64) -> String {
    let assistant = random.one_of(&ASSISTANTS);
    // Several have the same second.
    let second = number / 3 % 60;
    let head = format!(
        "{{\"id\":\"{}\",\"assistant_id\":\"{assistant}\",\
         \"created_at\":\"2025-01-25 10:15:{second:02}\"",
        id(number)
    );
    let phone = |random: &mut Random| random.one_of(&PHONES);
    match random.below(4) {
        0 => format!("{head}}}"),
        1 => format!("{head},\"type\":\"test\",\"variables\":{{\"n\":{number}}}}}"),
        2 => {
            let (sender, customer) = (phone(random), phone(random));
            format!(
                "{head},\"type\":\"whatsapp\",\"whatsapp_sender\":{{\"phone\":\"{sender}\"}},\
                 \"customer\":{{\"name\":\"Zoë {number}\",\"phone\":\"{customer}\"}}}}"
            )
        }
        _ => {
            let identifier = random.one_of(&IDENTIFIERS);
            format!("{head},\"type\":\"api\",\"external_identifier\":\"{identifier}\"}}")
        }
    }
}

/// Writes a history through both servers.
fn write(both: &Both, writes: u64) {
    let mut random = Random(7);
    let mut created = 0;
    for number in 0..writes {
        let target = id(random.below(created + 2));
        match random.below(10) {
            0..4 => {
                let body = conversation(&mut random, created);
                assert_eq!(both.same("POST /api/conversations", &body).status, 200, "{body}");
                created += 1;
            }
            4..7 => {
                let body = format!(
                    "{{\"role\":\"user\",\"content\":\"{number} \\u0000 ü\",\"cost\":0.0003,\
                     \"created_at\":\"2025-01-26 00:00:00\"}}"
                );
                both.same(&format!("POST /api/conversations/{target}/messages"), &body);
            }
            7 => {
                let name = format!("Sales {number}");
                let body = format!("{{\"name\":\"{name}\"}}");
                both.same(&format!("PATCH /api/user/assistants/{}", ASSISTANTS[1]), &body);
            }
            8 => {
                let assistant = random.one_of(&ASSISTANTS);
                let body = format!("{{\"assistant_id\":\"{assistant}\",\"ai_enabled\":false}}");
                both.same(&format!("PATCH /api/conversations/{target}"), &body);
            }
            _ => {
                both.same(&format!("DELETE /api/conversations/{target}"), "");
            }
        }
    }
    assert!(created > writes / 4, "{created} of {writes} writes created a conversation");
}

/// Reads a list to its end and back, and returns the number of pages.
fn walk(both: &Both, query: &str) -> u32 {
    let mut pages = 0;
    let page = |cursor: Option<&str>, query: &str| -> Response {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = both.same(&format!("GET /api/user/conversations?{query}{cursor}"), "");
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        page
    };
    let mut at = page(None, query);
    for field in ["next_cursor", "prev_cursor"] {
        loop {
            pages += 1;
            assert!(pages < 1000, "{query} does not end");
            let Some(cursor) = at.text(field).map(str::to_owned) else { break };
            at = page(Some(&cursor), "");
        }
    }
    pages
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_history_has_the_same_bytes_on_both_stores() {
    let both = Both::new("http_history");
    write(&both, 300);

    let fields = [
        ("type", "whatsapp"),
        ("assistant_id", ASSISTANTS[0]),
        ("whatsapp_sender_phone", PHONES[0]),
        ("customer_phone", PHONES[1]),
        ("external_identifier", "order+7"),
    ];
    let mut pages = 0;
    for combination in 0..32_u32 {
        let mut query = String::from("per_page=3");
        for (bit, (field, value)) in fields.iter().enumerate() {
            if combination & 1 << bit != 0 {
                write!(query, "&{field}={value}").unwrap();
            }
        }
        for order in ["asc", "desc"] {
            pages += walk(&both, &format!("{query}&order={order}"));
        }
        both.same(&format!("GET /api/user/conversations?{query}&include=total"), "");
        both.same(&format!("GET /api/user/conversations?{query}&count=only"), "");
    }
    assert!(pages > 200, "only {pages} pages were compared");
    for query in [
        "type=widget,api&per_page=4",
        "assistant_id=1,2&per_page=4&created_from=2025-01-25+10:15:05",
        "created_to=2025-01-25+10:15:09&fields=id,type&per_page=4",
    ] {
        walk(&both, query);
    }
    for token in [&both.restricted, &both.reader, &both.other_user] {
        both.same_as(token, "GET /api/user/conversations?include=total", "", "");
        both.same_as(token, "GET /api/user/conversations/stats?group_by=assistant", "", "");
        both.same_as(token, "GET /api/user/conversations/changes", "", "");
        both.same_as(token, "GET /api/user/assistants", "", "");
        both.same_as(token, "GET /api/user/me", "", "");
    }

    let list = both.same("GET /api/user/conversations?per_page=100", "");
    let ids = list.body.split("{\"id\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    for id in ids {
        let whole = both.same(&format!("GET /api/conversations/{id}"), "");
        assert_eq!(whole.status, 200);
        both.same(&format!("GET /api/conversations/{id}?per_page=2"), "");
        both.same(&format!("GET /api/conversations/{id}?cursor=before-3&per_page=1"), "");
        both.same_as(&both.restricted, &format!("GET /api/conversations/{id}"), "", "");
        both.same_as(&both.other_user, &format!("GET /api/conversations/{id}"), "", "");
    }
    for query in ["", "?group_by=day,type,assistant", "?group_by=month&assistant_id=2&type=api"] {
        both.same(&format!("GET /api/user/conversations/stats{query}"), "");
    }
    both.same("GET /api/user/assistants/get?per_page=1&page=2", "");
    both.same("GET /api/user/assistants/get?per_page=1&page=9", "");
    // Each server's feed by its own cursors: the store and the database have different histories.
    let mut cursors = [None, None];
    for _ in 0..1000 {
        let pages = [both.here, both.there].map(|address| {
            let index = usize::from(address == both.there);
            let cursor: &Option<String> = &cursors[index];
            let cursor = cursor.as_ref().map_or_else(String::new, |c| format!("&cursor={c}"));
            let request = format!("GET /api/user/conversations/changes?per_page=7{cursor}");
            crate::http::client::send(address, &both.token, &request, "", "")
        });
        cursors = pages.clone().map(|page| page.text("next_cursor").map(str::to_owned));
        let data = pages.map(|page| {
            let data = page.body.split("],\"per_page\"").next().unwrap().to_owned();
            let times = data.split("\"updated_at\":\"").map(|part| part.get(19..).unwrap_or(part));
            (page.body.contains("\"has_more\":true"), times.collect::<String>())
        });
        assert_eq!(data[1], data[0]);
        if !data[0].0 {
            return;
        }
    }
    panic!("the feed does not end");
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_cursor_of_a_file_continues_on_the_database() {
    let both = Both::new("http_cursor");
    write(&both, 60);
    let query = "GET /api/user/conversations?per_page=2";
    let here = crate::http::client::send(both.here, &both.token, query, "", "");
    let cursor = here.text("next_cursor").unwrap();
    let next = format!("GET /api/user/conversations?cursor={cursor}");
    let page = both.same(&next, "");
    assert_eq!(page.body.matches("{\"id\":").count(), 2, "{}", page.body);
}
