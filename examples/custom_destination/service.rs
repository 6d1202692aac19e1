//! The service: invented, small and strict. It stands for the test server of a real one.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{self, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use rsync_testkit::sim::server::Simulated;
use serde::Deserialize;
use serde_json::{Value, json};

/// The one token that opens it.
pub(crate) const TOKEN: &str = "tickets-token-5c01d9";

/// Texts by field; empty fields come as `null`.
pub(crate) type Record = BTreeMap<String, Option<String>>;

/// Records by object and key.
#[derive(Clone, Default)]
pub(crate) struct Service {
    objects: Arc<Mutex<BTreeMap<String, BTreeMap<String, Record>>>>,
}

impl Service {
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/v1/account", get(async || Json(json!({ "id": "acme" }))))
            .route("/v1/{object}/fields", get(fields))
            .route("/v1/{object}/bulk", put(bulk))
            .layer(middleware::from_fn(authorise))
            .with_state(self.clone())
    }

    pub(crate) fn create_object(&self, name: &str) {
        self.lock().insert(name.to_owned(), BTreeMap::new());
    }

    pub(crate) fn records(&self, object: &str) -> BTreeMap<String, Record> {
        self.lock().get(object).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Record>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the test kit's server run it, and break it.
impl Simulated for Service {
    fn arrived(&self, _: &mut http::Request<Bytes>) -> Box<dyn Any + Send> {
        Box::new(())
    }

    fn error_answer(&self, status: StatusCode) -> http::Response<Bytes> {
        let mut answer = http::Response::new(Bytes::from_static(b"{\"error\":\"as you wish\"}"));
        *answer.status_mut() = status;
        answer
    }
}

async fn authorise(request: Request, next: Next) -> Response {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token.and_then(|token| token.strip_prefix("Bearer ")) != Some(TOKEN) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    next.run(request).await
}

async fn fields(State(service): State<Service>, Path(object): Path<String>) -> Response {
    if !service.lock().contains_key(&object) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let fields = FIELDS.map(
        |(name, kind, writable)| json!({ "name": name, "type": kind, "writable": writable, "unique": name == "number" }),
    );
    Json(json!({ "fields": fields })).into_response()
}

const FIELDS: [(&str, &str, bool); 6] = [
    ("number", "text", true),
    ("subject", "text", true),
    ("priority", "choice", true),
    ("effort", "number", true),
    ("urgent", "flag", true),
    ("opened_by", "text", false),
];

#[derive(Deserialize)]
struct Bulk {
    match_on: String,
    rows: Vec<Record>,
}

async fn bulk(State(service): State<Service>, Path(object): Path<String>, Json(bulk): Json<Bulk>) -> Response {
    let mut objects = service.lock();
    let Some(records) = objects.get_mut(&object) else { return StatusCode::NOT_FOUND.into_response() };
    if bulk.rows.len() > 50 || bulk.match_on != "number" {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let rows = bulk.rows.into_iter().enumerate();
    // The order of the answer is not promised.
    let results: Vec<Value> = rows.rev().map(|(row, fields)| upsert(records, row, fields)).collect();
    Json(json!({ "results": results })).into_response()
}

fn upsert(records: &mut BTreeMap<String, Record>, row: usize, fields: Record) -> Value {
    if let Some(refused) = fields.iter().find_map(|(name, value)| problem(name, value.as_deref())) {
        return json!({ "row": row, "refused": refused });
    }
    let Some(Some(key)) = fields.get("number").cloned() else {
        return json!({ "row": row, "refused": "bad_value" });
    };
    let id = format!("ticket {key}");
    let record = records.entry(key).or_default();
    record.extend(fields);
    record.retain(|_, value| value.is_some());
    json!({ "row": row, "id": id })
}

fn problem(name: &str, value: Option<&str>) -> Option<&'static str> {
    let Some((_, kind, writable)) = FIELDS.iter().find(|(field, ..)| *field == name) else {
        return Some("unknown_field");
    };
    let fits = match (*kind, value) {
        (_, None) | ("text", Some(_)) => true,
        ("number", Some(text)) => text.parse::<i64>().is_ok(),
        ("flag", Some(text)) => matches!(text, "true" | "false"),
        (_, Some(text)) => matches!(text, "low" | "normal" | "high"),
    };
    if !writable { Some("read_only_field") } else { (!fits).then_some("bad_value") }
}
