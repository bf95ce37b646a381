//! Export: a whole list as newline-delimited JSON or CSV, streamed as of one moment in constant memory.
//!
//! The next chunk is read after the previous one was sent, so a slow client slows down the reading.
//! It cannot do so forever, because the snapshot stays open meanwhile: see
//! [`Limits::export_timeout`](crate::Limits::export_timeout). In memory are one chunk, one page of
//! rows and a few messages. An error in the middle aborts the connection, so a
//! client cannot mistake a part for the whole.

use std::io;
use std::time::Instant;
use std::vec;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use convodb::{Snapshot, UserId};
use convodb_json::csv::{CsvWriter, ExportCsv};
use convodb_json::{ExportLines, LineWriter, Messages};
use convodb_service::{ExportItem, ListReader, RemoteView, View};
use futures_util::stream;

use crate::error::Result;
use crate::extract::auth::{AuthRead, Authority, Export};
use crate::extract::export_format::ExportFormat;
use crate::extract::params::{self, ExportParams};
use crate::middleware::budget::Share;
use crate::response::json_body;
use crate::state::Service;

/// A chunk of at least this many bytes is sent.
const CHUNK_BYTES: usize = 64 * 1024;

/// `GET /api/user/conversations/export`.
pub(crate) async fn export(
    State(service): State<Service>,
    AuthRead { user, view, authority, .. }: AuthRead<Export>,
    format: ExportFormat,
    uri: Uri,
) -> Result<Response> {
    let query = uri.query().unwrap_or_default();
    let params = params::export(query, user, &view, format).await?;
    let deadline = Instant::now() + service.limits().export_timeout;
    let permit = service.transfer_permit(user)?;
    let running = Running { authority, deadline, _permit: permit };
    let body = match view {
        View::Embedded(snapshot) => of_snapshot(&service, running, snapshot, user, format, params),
        View::Remote(view) => of_remote(running, &view, user, format, params).await?,
    };
    let mut response = json_body::ok(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(format.disposition()));
    headers.insert(VARY, HeaderValue::from_name(ACCEPT));
    Ok(response)
}

/// The body of an export of a snapshot, which is read on blocking threads.
fn of_snapshot(
    service: &Service,
    running: Running,
    snapshot: Snapshot,
    user: UserId,
    format: ExportFormat,
    ExportParams { request, messages, csv }: ExportParams,
) -> Body {
    let rows = match format {
        ExportFormat::Lines => Rows::Lines(ExportLines::new(snapshot, user, &request, messages)),
        ExportFormat::Csv => Rows::Csv(ExportCsv::new(snapshot, user, &request, csv)),
    };
    let long_reads = service.long_reads().clone();
    let chunks = stream::try_unfold(EmbeddedExport { running, rows }, move |export| {
        let long_reads = long_reads.clone();
        async move { long_reads.run(move || export.next_chunk()).await }
    });
    Body::from_stream(chunks)
}

/// The body of an export of a remote store, which has begun when this returns.
///
/// # Errors
/// Those of misuse of a list; 503 or 500 for a fault of the store.
async fn of_remote(
    running: Running,
    view: &RemoteView,
    user: UserId,
    format: ExportFormat,
    ExportParams { request, messages, csv }: ExportParams,
) -> Result<Body> {
    let (messages, writer) = match format {
        ExportFormat::Lines => (messages, ItemWriter::Lines(LineWriter::new(messages))),
        ExportFormat::Csv => (Messages::LeftOut, ItemWriter::Csv(CsvWriter::new(csv))),
    };
    let reader = view.export(user, &request, messages, running.deadline).await?;
    let items = Vec::new().into_iter();
    let export = RemoteExport { running, reader, writer, items, place: Place::Beginning };
    let chunks = stream::try_unfold(export, RemoteExport::next_chunk);
    Ok(Body::from_stream(chunks))
}

/// What every export in progress has.
struct Running {
    authority: Authority,
    deadline: Instant,
    _permit: Share,
}

impl Running {
    /// Checks that the time has not ended.
    fn check_deadline(&self) -> convodb::Result<()> {
        if Instant::now() > self.deadline {
            tracing::warn!("export aborted: the client did not read it within the export timeout");
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        Ok(())
    }
}

/// Logs that the token of an export is not valid any more, and returns the error.
fn revoked() -> convodb::Error {
    tracing::warn!("export aborted: its token is not valid any more");
    convodb::Error::TokenNotFound
}

/// An export of a snapshot in progress.
struct EmbeddedExport {
    running: Running,
    rows: Rows,
}

/// The rest of an export of a snapshot.
enum Rows {
    Lines(ExportLines),
    Csv(ExportCsv),
}

impl Rows {
    fn fill(&mut self, chunk: &mut Vec<u8>, bytes: usize) -> convodb::Result<bool> {
        match self {
            Rows::Lines(lines) => lines.fill(chunk, bytes),
            Rows::Csv(csv) => csv.fill(chunk, bytes),
        }
    }
}

impl EmbeddedExport {
    /// Reads the next chunk of lines. Returns it with the rest of the export, or `None` at the end.
    fn next_chunk(mut self) -> convodb::Result<Option<(Bytes, Self)>> {
        self.running.check_deadline()?;
        // The export reads an older snapshot, but only while its token is valid.
        if self.running.authority.check().is_err() {
            return Err(revoked());
        }
        let mut chunk = new_chunk();
        self.rows.fill(&mut chunk, CHUNK_BYTES).inspect_err(|error| {
            tracing::error!(cause = %error, "export aborted: cannot read the store");
        })?;
        Ok((!chunk.is_empty()).then(|| (chunk.into(), self)))
    }
}

/// An export of a remote store in progress.
struct RemoteExport {
    running: Running,
    reader: Box<dyn ListReader>,
    writer: ItemWriter,
    /// What was read and is not written yet.
    items: vec::IntoIter<ExportItem>,
    place: Place,
}

/// Where an export of a remote store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Beginning,
    Middle,
    End,
}

/// Writes the items of an export.
enum ItemWriter {
    Lines(LineWriter),
    Csv(CsvWriter),
}

impl ItemWriter {
    /// Appends what precedes the items.
    fn begin(&self, out: &mut Vec<u8>) {
        if let Self::Csv(csv) = self {
            csv.header(out);
        }
    }

    fn item(&mut self, out: &mut Vec<u8>, item: &ExportItem) {
        match (self, item) {
            (Self::Lines(lines), ExportItem::Conversation(row, name)) => {
                lines.begin(out, &row.borrowed(), name.as_str());
            }
            (Self::Lines(lines), ExportItem::Message(message)) => lines.message(out, message),
            (Self::Csv(csv), ExportItem::Conversation(row, name)) => {
                csv.record(out, &row.borrowed(), name.as_str());
            }
            (Self::Csv(_), ExportItem::Message(_)) => {}
        }
    }

    /// Appends what follows the items.
    fn end(&mut self, out: &mut Vec<u8>) {
        if let Self::Lines(lines) = self {
            lines.end(out);
        }
    }
}

impl RemoteExport {
    /// Reads the next chunk of lines, as [`EmbeddedExport::next_chunk`].
    async fn next_chunk(mut self) -> convodb_service::Result<Option<(Bytes, Self)>> {
        self.running.check_deadline()?;
        if let Err(error) = self.running.authority.recheck().await {
            let Some(cause) = error.cause() else { return Err(revoked().into()) };
            // It may have been revoked.
            tracing::warn!(cause, "export aborted: its token cannot be checked");
            return Err(convodb::Error::TokenNotFound.into());
        }
        let mut chunk = new_chunk();
        self.fill(&mut chunk).await.inspect_err(|error| {
            tracing::error!(cause = %error, "export aborted: cannot read the store");
        })?;
        Ok((!chunk.is_empty()).then(|| (chunk.into(), self)))
    }

    async fn fill(&mut self, chunk: &mut Vec<u8>) -> convodb_service::Result<()> {
        if self.place == Place::Beginning {
            self.writer.begin(chunk);
            self.place = Place::Middle;
        }
        while chunk.len() < CHUNK_BYTES && self.place == Place::Middle {
            if let Some(item) = self.items.next() {
                self.writer.item(chunk, &item);
            } else if let Some(items) = self.reader.next().await? {
                self.items = items.into_iter();
            } else {
                self.writer.end(chunk);
                self.place = Place::End;
            }
        }
        Ok(())
    }
}

fn new_chunk() -> Vec<u8> {
    Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8)
}
