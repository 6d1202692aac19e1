//! Paths of the simulated endpoints. Letter case and closing slashes do not matter where the service ignores them.

use std::collections::BTreeSet;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, Method, Response, Uri};

use super::org::{Call, Endpoint, Org};
use super::reply::Refusal;
use super::stats::Surface;
use super::{bulk, collections, composite, describe, oauth, query, single};
use crate::sim::server::Transport;

/// API versions that are served.
pub(crate) const VERSIONS: std::ops::RangeInclusive<u32> = 60..=68;

/// An organization shared by the server's tasks.
#[derive(Clone)]
pub(crate) struct SharedOrg {
    org: Arc<Mutex<Org>>,
    transport: Transport,
}

impl SharedOrg {
    pub(crate) fn new(org: Org, transport: Transport) -> Self {
        Self { org: Arc::new(Mutex::new(org)), transport }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Org> {
        let mut org = self.org.lock().unwrap_or_else(PoisonError::into_inner);
        bulk::advance(&mut org);
        org
    }
}

/// Left on a request by the server hook: what else was in flight when it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Neighbours {
    pub(crate) locked_rows: BTreeSet<usize>,
    pub(crate) crowded: bool,
}

/// All paths lead to one handler: values in paths may hold anything, also encoded slashes, so they are taken apart here.
pub(crate) fn router(org: SharedOrg) -> Router {
    // The service's own limits answer, not the framework's.
    Router::new().fallback(handle).layer(DefaultBodyLimit::disable()).with_state(org)
}

fn handle(
    State(shared): State<SharedOrg>,
    neighbours: Option<Extension<Neighbours>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Ready<Response<Body>> {
    let scheme = match shared.transport {
        Transport::Plain => "http",
        Transport::Tls => "https",
    };
    // HTTP/2 names the host in the URI.
    let host = uri.authority().map(ToString::to_string);
    let host = host.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned));
    let Neighbours { locked_rows, crowded } = neighbours.map(|Extension(n)| n).unwrap_or_default();
    let call = Call {
        method,
        path: segments(uri.path()),
        query: url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        uri_bytes: uri.path_and_query().map_or(0, |path| path.as_str().len()),
        headers,
        body,
        base_url: format!("{scheme}://{}", host.unwrap_or_default()),
        locked_rows,
        crowded,
    };
    ready(shared.lock().dispatch(&call))
}

/// Decoded segments of a path, without empty ones at its end.
pub(crate) fn segments(path: &str) -> Vec<String> {
    let decoded = |segment: &str| {
        // A plus sign stands for itself in a path, unlike in a query.
        let query = format!("s={}", segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D"));
        url::form_urlencoded::parse(query.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let trimmed = path.trim_start_matches('/').trim_end_matches('/');
    trimmed.split('/').map(decoded).collect()
}

/// Where a request leads.
pub(crate) struct Route {
    pub(crate) surface: Surface,
    pub(crate) endpoint: Endpoint,
}

/// The endpoint of a request.
pub(crate) fn find(call: &Call) -> Result<Route, Refusal> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["services", "oauth2", "token"] => choose(call, &[(Method::POST, Surface::Tokens, oauth::token)]),
        ["services", "data"] => choose(call, &[(Method::GET, Surface::Open, describe::versions)]),
        ["services", "data", version, rest @ ..] if is_served(version) => find_data(call, rest),
        _ => Err(Refusal::not_found()),
    }
}

fn is_served(version: &str) -> bool {
    let number = version.strip_prefix('v').and_then(|rest| rest.strip_suffix(".0"));
    number.and_then(|number| number.parse().ok()).is_some_and(|number| VERSIONS.contains(&number))
}

fn find_data(call: &Call, rest: &[&str]) -> Result<Route, Refusal> {
    use Surface::{Account, BulkReads, BulkWrites, Composites, Describes, Queries, Reads, Writes};
    let (get, post, patch, put, delete) = (Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE);
    match rest {
        [] => choose(call, &[(get, Account, describe::resources)]),
        ["limits"] => choose(call, &[(get, Account, describe::limits)]),
        ["sobjects"] => choose(call, &[(get, Describes, describe::objects)]),
        ["sobjects", _] => choose(call, &[(get, Describes, describe::summary), (post, Writes, single::create)]),
        ["sobjects", _, "describe"] => choose(call, &[(get, Describes, describe::object)]),
        ["sobjects", _, _] => choose(
            call,
            &[(get, Reads, single::read), (patch, Writes, single::update), (delete, Writes, single::delete)],
        ),
        ["sobjects", _, _, _] => choose(
            call,
            &[
                (get, Reads, single::read_by_key),
                (patch, Writes, single::upsert),
                (delete, Writes, single::delete_by_key),
            ],
        ),
        ["composite", "sobjects"] => choose(
            call,
            &[
                (post, Writes, collections::create),
                (patch, Writes, collections::update),
                (delete, Writes, collections::delete),
            ],
        ),
        ["composite", "sobjects", _] => {
            choose(call, &[(get, Reads, collections::retrieve), (post, Reads, collections::retrieve_long)])
        }
        ["composite", "sobjects", _, _] => choose(call, &[(patch, Writes, collections::upsert)]),
        ["composite"] => choose(call, &[(post, Composites, composite::composite)]),
        ["composite", "batch"] => choose(call, &[(post, Composites, composite::batch)]),
        ["jobs", "ingest"] => choose(call, &[(get, BulkReads, bulk::list), (post, BulkWrites, bulk::create)]),
        ["jobs", "ingest", _] => choose(
            call,
            &[(get, BulkReads, bulk::info), (patch, BulkWrites, bulk::close), (delete, BulkWrites, bulk::remove)],
        ),
        ["jobs", "ingest", _, "batches"] => choose(call, &[(put, BulkWrites, bulk::upload)]),
        // simple-salesforce writes `unprocessedRecords`, the documentation `unprocessedrecords`.
        ["jobs", "ingest", _, "successfulResults" | "failedResults" | "unprocessedrecords" | "unprocessedRecords"] => {
            choose(call, &[(get, BulkReads, bulk::results)])
        }
        ["query" | "queryAll"] => choose(call, &[(get, Queries, query::first_page)]),
        ["query" | "queryAll", _] => choose(call, &[(get, Queries, query::next_page)]),
        _ => Err(Refusal::not_found()),
    }
}

/// The media types that the body of a request may have.
pub(crate) fn media(call: &Call) -> &'static [&'static str] {
    match call.path.last().map(String::as_str) {
        Some("batches") if call.method == Method::PUT => &["text/csv"],
        Some("ingest") if call.method == Method::POST => &["application/json", "multipart/form-data"],
        _ => &["application/json"],
    }
}

fn choose(call: &Call, offered: &[(Method, Surface, Endpoint)]) -> Result<Route, Refusal> {
    if let Some((_, surface, endpoint)) = offered.iter().find(|(method, ..)| *method == call.method) {
        return Ok(Route { surface: *surface, endpoint: *endpoint });
    }
    let allowed: Vec<&str> = offered.iter().map(|(method, ..)| method.as_str()).collect();
    let message = format!("HTTP Method '{}' not allowed. Allowed are {}", call.method, allowed.join(","));
    Err(Refusal::new(405, "METHOD_NOT_ALLOWED", message))
}
