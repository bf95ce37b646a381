//! Conversations from JSON lines, streamed: read no faster than they are stored.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use convodb::{Error, Store};
use tokio::time::sleep;

use crate::body::RequestBody;
use crate::error::{ApiError, Result};
use crate::extract::auth::AuthWrite;
use crate::import::{Batch, ImportReport};
use crate::json;
use crate::response::json_body;
use crate::run_blocking::run_blocking;
use crate::state::Service;

/// Before the next try when the queue of writes is full, and how often it is tried.
const QUEUE_PAUSE: Duration = Duration::from_millis(50);
const QUEUE_TRIES: u32 = 100;

/// `POST /api/user/conversations/import`. Each batch is durable before the next one is read, and
/// stays where a later one fails.
pub(crate) async fn import(
    State(service): State<Service>,
    account: AuthWrite,
    body: RequestBody,
) -> Result<Response> {
    let _transfer = account.transfer()?;
    let mut lines = body.lines()?;
    let mut report = ImportReport::default();
    loop {
        let batch = lines.batch().await?;
        if batch.is_empty() {
            return Ok(answer(&report));
        }
        let line_bytes = service.limits().max_line_bytes;
        let batch = run_blocking(move || Ok::<_, ApiError>(Batch::read(batch, line_bytes))).await?;
        report.add(stored(&account, batch).await?);
    }
}

/// Stores a batch, waiting for a place in the queue of writes as long as that is worth while.
async fn stored(account: &AuthWrite, batch: Batch) -> Result<ImportReport> {
    let batch = Arc::new(batch);
    for _ in 0..QUEUE_TRIES {
        let batch = batch.clone();
        let write = move |user, store: &Store| match store
            .write(move |transaction| batch.write(user, transaction))
        {
            Err(Error::QueueFull) => Ok(None),
            stored => Ok(Some(stored?)),
        };
        if let Some(report) = account.write(write).await? {
            return Ok(report);
        }
        sleep(QUEUE_PAUSE).await;
    }
    Err(Error::QueueFull.into())
}

fn answer(report: &ImportReport) -> Response {
    let mut out = Vec::with_capacity(256);
    let counts = [
        ("{\"inserted\":", report.inserted),
        (",\"already_present\":", report.already_present),
        (",\"messages\":", report.messages),
        (",\"assistants_created\":", report.assistants_created),
        (",\"rejected\":", report.rejected),
    ];
    for (key, count) in counts {
        json::raw(&mut out, key);
        json::integer(&mut out, count);
    }
    json::raw(&mut out, ",\"errors\":[");
    for (at, refusal) in report.errors.iter().enumerate() {
        json::raw(&mut out, if at == 0 { "{\"line\":" } else { ",{\"line\":" });
        json::integer(&mut out, refusal.line);
        json::raw(&mut out, ",\"message\":");
        json::string(&mut out, &refusal.reason);
        out.push(b'}');
    }
    json::raw(&mut out, "]}");
    json_body::ok(out)
}
