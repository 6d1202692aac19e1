//! Inspection endpoints of the organization: records, statistics, sessions, reset.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::bulk::BulkJob;
use super::handle::Parts;
use crate::sim::inspection::refusal;

pub(crate) fn router(parts: Parts) -> Router {
    Router::new()
        .route("/records/{object}", get(records))
        .route("/jobs", get(jobs))
        .route("/stats", get(stats))
        .route("/expire", post(expire))
        .route("/reset", post(reset))
        .with_state(parts)
}

async fn records(State(parts): State<Parts>, Path(object): Path<String>) -> Response {
    match parts.records(&object) {
        Some(records) => Json(json!({ "records": records })).into_response(),
        None => {
            (StatusCode::NOT_FOUND, Json(json!({ "problem": format!("there is no object {object}") }))).into_response()
        }
    }
}

async fn jobs(State(parts): State<Parts>) -> Response {
    let jobs = BulkJob::all(&parts.org.lock());
    Json(json!({ "jobs": jobs })).into_response()
}

async fn stats(State(parts): State<Parts>) -> Response {
    Json(parts.stats()).into_response()
}

/// Ends all sessions.
async fn expire(State(parts): State<Parts>) -> Response {
    parts.org.lock().sessions.end_all();
    StatusCode::NO_CONTENT.into_response()
}

/// Resets the statistics, or with `?what=org` also the records, fields and sessions to the seed.
async fn reset(State(parts): State<Parts>, RawQuery(query): RawQuery) -> Response {
    match query.as_deref() {
        None | Some("" | "what=stats") => parts.reset_stats(),
        Some("what=org") => {
            if let Err(error) = parts.reset_org() {
                return refusal(&error.to_string());
            }
        }
        Some(other) => return refusal(&format!("query {other:?} is not known; use what=stats or what=org")),
    }
    StatusCode::NO_CONTENT.into_response()
}
