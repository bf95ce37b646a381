//! A client of the HTTP API that repeats what a failover interrupts, and checks each answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb_testkit::http_client::{HttpClient, Response};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::scenario::{Violation, ensure};
use crate::scenarios::cluster::transcript::Transcript;

pub(super) const LIST: &str = "/api/user/conversations";
pub(super) const CREATE: &str = "/api/conversations";
pub(super) const CHANGES: &str = "/api/user/conversations/changes";
/// The pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(500);
/// The time for a request with its repetitions.
const PATIENCE: Duration = Duration::from_secs(120);
/// The message of a write that may be stored or not.
const IN_DOUBT: &str = "It is not known whether the request was executed";

/// A client with a connection of its own.
pub(super) struct ApiClient {
    address: SocketAddr,
    token: String,
    http: HttpClient,
    transcript: Transcript,
    repeated: Arc<AtomicU64>,
}

/// A page of the list.
#[derive(Debug, PartialEq)]
pub(super) struct ListPage {
    pub(super) data: Vec<Json>,
    pub(super) next: Option<String>,
    pub(super) previous: Option<String>,
}

impl ListPage {
    /// The ids of the conversations.
    pub(super) fn ids(&self) -> Result<Vec<Uuid>, Violation> {
        self.data.iter().map(|row| id(&row["id"])).collect()
    }
}

impl ApiClient {
    /// Connects to a server. Counts repeated requests in `repeated`.
    pub(super) fn connect(
        address: SocketAddr,
        token: &str,
        transcript: &Transcript,
        repeated: &Arc<AtomicU64>,
    ) -> Result<Self, Violation> {
        let http = HttpClient::connect(address, token)?;
        let (transcript, repeated) = (transcript.clone(), Arc::clone(repeated));
        Ok(Self { address, token: token.to_owned(), http, transcript, repeated })
    }

    /// The status of a `GET`, and its body.
    pub(super) fn status(&mut self, target: &str) -> Result<(u16, Json), Violation> {
        let Response { status, body } = self.http.request("GET", target, None)?;
        Ok((status, serde_json::from_str(&body).unwrap_or(Json::Null)))
    }

    /// The page of the list with this query.
    pub(super) fn page(&mut self, query: &str) -> Result<ListPage, Violation> {
        let mut page = self.get(&format!("{LIST}?{query}"))?;
        let Json::Array(data) = page["data"].take() else {
            return Err(Violation::new(format!("no list: {page}")));
        };
        let cursor = |name: &str| page[name].as_str().map(str::to_owned);
        Ok(ListPage { data, next: cursor("next_cursor"), previous: cursor("prev_cursor") })
    }

    /// All pages from the one with this query on.
    pub(super) fn walk(&mut self, query: &str) -> Result<Vec<Json>, Violation> {
        let mut page = self.page(query)?;
        let mut rows = Vec::new();
        loop {
            rows.append(&mut page.data);
            let Some(cursor) = &page.next else { return Ok(rows) };
            page = self.page(&format!("cursor={cursor}"))?;
        }
    }

    /// The changes with this query, and the cursor after them.
    pub(super) fn changes(&mut self, query: &str) -> Result<(Vec<Json>, String), Violation> {
        let mut part = self.get(&format!("{CHANGES}?{query}"))?;
        let next = part["next_cursor"].as_str().map(str::to_owned);
        match (part["data"].take(), next) {
            (Json::Array(changes), Some(next)) => Ok((changes, next)),
            _ => Err(Violation::new(format!("no changes: {part}"))),
        }
    }

    /// Creates a conversation with this external identifier, which is the idempotency key, too.
    pub(super) fn create(&mut self, key: &str) -> Result<Uuid, Violation> {
        let body = format!(r#"{{"assistant_id":1,"type":"api","external_identifier":"{key}"}}"#);
        let what = format!("POST {CREATE}, Idempotency-Key: {key}");
        let created = self.until_done(&what, |http| http.post_once(CREATE, key, &body))?;
        id(&created["conversation_id"])
    }

    fn get(&mut self, target: &str) -> Result<Json, Violation> {
        let what = match target.split_once("cursor=") {
            Some((path, cursor)) => format!("GET {path}cursor={}...", prefix(cursor)),
            None => format!("GET {target}"),
        };
        self.until_done(&what, |http| http.request("GET", target, None))
    }

    /// Repeats a request that is answered with 503, and a write in doubt, until it is answered with
    /// 200. Any other answer is a violation.
    fn until_done(
        &mut self,
        what: &str,
        send: impl Fn(&mut HttpClient) -> std::io::Result<Response>,
    ) -> Result<Json, Violation> {
        let began = Instant::now();
        let (mut attempts, mut last_status) = (0, 200);
        loop {
            let sent = Instant::now();
            let Response { status, body } = send(&mut self.http)?;
            let after = sent.elapsed().as_secs_f64();
            let json: Json = serde_json::from_str(&body)?;
            attempts += 1;
            if status == 200 {
                if attempts > 1 {
                    self.transcript.add(format!("{what}: 200, at attempt {attempts}"));
                }
                return Ok(json);
            }
            let message = json["message"].as_str().unwrap_or_default();
            let is_in_doubt =
                status == 500 && what.starts_with("POST") && message.starts_with(IN_DOUBT);
            ensure(status == 503 || is_in_doubt, || format!("{what}: {status} {body}"))?;
            // Only what is new.
            if status != last_status {
                let message = message.split_inclusive('.').next().unwrap_or_default();
                self.transcript.add(format!("{what}: {status} after {after:.1} s, {message}"));
            }
            last_status = status;
            ensure(began.elapsed() < PATIENCE, || format!("repeated for 120 s in vain: {what}"))?;
            self.repeated.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PAUSE);
            // A server may close a connection after an error.
            self.http = HttpClient::connect(self.address, &self.token)?;
        }
    }
}

/// An id.
pub(super) fn id(json: &Json) -> Result<Uuid, Violation> {
    let id = json.as_str().and_then(|text| text.parse().ok());
    id.ok_or_else(|| Violation::new(format!("no id: {json}")))
}

/// The beginning of a cursor, for a transcript.
pub(super) fn prefix(cursor: &str) -> &str {
    cursor.get(..12).unwrap_or(cursor)
}
