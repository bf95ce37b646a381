//! Metrics of the server, in the Prometheus exposition format.
//!
//! A label is the pattern of a route, a method or a status: never a path or any other text that a
//! client chooses, which would create a time series for each.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use convodb::{Histogram, LatencyHistogram, Page, PageCost};
use convodb_service::Source;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use crate::middleware::budget::Budget;
use crate::middleware::store_metrics::{StoreHistogram, StoreMetrics};
use crate::response::cache::ResponseCache;

/// The metrics of one server. Cheap to clone; clones share their counters.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<Request, Counter>,
    latency: Family<Route, RequestTimes>,
    /// The metrics of responses by route, found without the labels, which own their texts.
    by_route: RwLock<HashMap<String, Vec<OfResponses>>>,
    pages: Counter,
    page_bounds: Counter,
    entries_read: Counter,
    rows_read: Counter,
    kept_responses: Counter,
    connections: Gauge,
}

/// The metrics of responses of one route to one method with one status.
struct OfResponses {
    method: &'static str,
    status: StatusCode,
    count: Counter,
    latency: RequestTimes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

/// Returns the name of a method, or `other` for one that no route has: clients can invent methods.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

impl Metrics {
    /// Creates metrics, with those of the store, of the bytes of bodies and of the kept responses if
    /// given.
    pub(crate) fn new(source: Option<(&Source, &Arc<Budget>, &Arc<ResponseCache>)>) -> Self {
        let mut metrics = Inner {
            registry: Registry::with_prefix("convodb"),
            requests: Family::default(),
            latency: Family::default(),
            by_route: RwLock::default(),
            pages: Counter::default(),
            page_bounds: Counter::default(),
            entries_read: Counter::default(),
            rows_read: Counter::default(),
            kept_responses: Counter::default(),
            connections: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        let requests = "Responses, by method, route and status";
        registry.register("http_requests", requests, metrics.requests.clone());
        let latency = "Time from the headers of a request to the headers of its response";
        registry.register_with_unit(
            "http_request",
            latency,
            Unit::Seconds,
            metrics.latency.clone(),
        );
        let pages = "Pages of lists that were read";
        registry.register("pages", pages, metrics.pages.clone());
        let bounds = "Most entries and rows that these pages could have read";
        registry.register("page_reads_bound", bounds, metrics.page_bounds.clone());
        let entries = "Index entries read for pages, or rows for a list without an index";
        registry.register("page_entries_read", entries, metrics.entries_read.clone());
        let rows = "Rows looked up for index entries";
        registry.register("page_rows_read", rows, metrics.rows_read.clone());
        let kept = "Responses that were sent from the cache of responses";
        registry.register("responses_kept", kept, metrics.kept_responses.clone());
        if let Some((source, bytes, responses)) = source {
            let (source, bytes, responses) = (source.clone(), bytes.clone(), responses.clone());
            registry.register_collector(Box::new(StoreMetrics { source, bytes, responses }));
        }
        registry.register("connections", "Open connections", metrics.connections.clone());
        Self(Arc::new(metrics))
    }

    /// Counts a response. `route` is `None` for a request that matches no route.
    pub(crate) fn record_response(
        &self,
        method: &'static str,
        route: Option<&str>,
        status: StatusCode,
        took: Duration,
    ) {
        let route = route.unwrap_or("none");
        let record = |of: &OfResponses| {
            of.latency.0.record(took);
            of.count.inc();
        };
        let is_same = |of: &&OfResponses| (of.method, of.status) == (method, status);
        let known = self.0.by_route.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = known.get(route).and_then(|all| all.iter().find(is_same)) {
            return record(of);
        }
        drop(known);
        let mut known = self.0.by_route.write().unwrap_or_else(PoisonError::into_inner);
        let all = known.entry(route.to_owned()).or_default();
        // Meanwhile another thread may have added the same one, which shares its counters.
        let of = self.0.of_responses(method, route, status);
        record(&of);
        all.push(of);
    }

    /// Counts a page that was read, with its cost.
    pub(crate) fn record_page(&self, page: &Page) {
        let cost = page.cost();
        self.0.pages.inc();
        self.0.page_bounds.inc_by(PageCost::bound_of_ranges(page.page_size(), cost.ranges) as u64);
        self.0.entries_read.inc_by(cost.entries as u64);
        self.0.rows_read.inc_by(cost.rows as u64);
    }

    /// Counts a response that was kept and is sent again.
    pub(crate) fn record_kept_response(&self) {
        self.0.kept_responses.inc();
    }

    /// The times of the successful and failed GET requests of a route.
    pub(crate) fn times_of(&self, route: &str) -> Histogram {
        let route = Route { method: method_name(&Method::GET), route: route.to_owned() };
        self.0.latency.get(&route).map_or_else(Histogram::default, |times| times.0.read())
    }

    /// The pages that were read.
    pub(crate) fn pages(&self) -> PagesRead {
        PagesRead {
            pages: self.0.pages.get(),
            reads: self.0.entries_read.get() + self.0.rows_read.get(),
            bound: self.0.page_bounds.get(),
        }
    }

    /// The open connections.
    pub(crate) fn connections(&self) -> u64 {
        self.0.connections.get().try_into().unwrap_or(0)
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.0.connections.inc();
        OpenConnection(self.0.connections.clone())
    }

    /// Returns all metrics as text.
    ///
    /// # Errors
    /// Fails if formatting fails.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl Inner {
    fn of_responses(&self, method: &'static str, route: &str, status: StatusCode) -> OfResponses {
        let by_route = Route { method, route: route.to_owned() };
        let by_status = Request { method, route: route.to_owned(), status: status.as_u16() };
        let latency = self.latency.get_or_create(&by_route).clone();
        let count = self.requests.get_or_create(&by_status).clone();
        OfResponses { method, status, count, latency }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The pages that a server has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PagesRead {
    pub(crate) pages: u64,
    /// The entries and rows that they read.
    pub(crate) reads: u64,
    /// The sum of their bounds.
    pub(crate) bound: u64,
}

/// The times of a route's requests: from 0.1 ms to 6.6 s, each bound twice the one before.
#[derive(Clone, Debug, Default)]
struct RequestTimes(Arc<LatencyHistogram>);

impl EncodeMetric for RequestTimes {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        StoreHistogram(&self.0.read()).encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for RequestTimes {
    const TYPE: MetricType = MetricType::Histogram;
}

/// A guard that counts a connection as open.
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
