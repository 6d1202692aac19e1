//! Inspection endpoints of the portal: records, statistics, reset.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::handle::Parts;
use crate::sim::inspection::refusal;

pub(crate) fn router(parts: Parts) -> Router {
    Router::new()
        .route("/records/{object}", get(records))
        .route("/associations/{object}/{id}/{to}", get(associations))
        .route("/lists", get(lists))
        .route("/stats", get(stats))
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

async fn associations(State(parts): State<Parts>, Path((object, id, to)): Path<(String, String, String)>) -> Response {
    match parts.associations(&object, &id, &to) {
        Some(associations) => Json(json!({ "associations": associations })).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ "problem": format!("no record {id} of {object}, or no {to}") })))
            .into_response(),
    }
}

async fn lists(State(parts): State<Parts>) -> Response {
    Json(json!({ "lists": parts.lists() })).into_response()
}

async fn stats(State(parts): State<Parts>) -> Response {
    Json(parts.stats()).into_response()
}

/// Resets the statistics, or with `?what=portal` also the records and definitions to the seed.
async fn reset(State(parts): State<Parts>, RawQuery(query): RawQuery) -> Response {
    match query.as_deref() {
        None | Some("" | "what=stats") => parts.reset_stats(),
        Some("what=portal") => {
            if let Err(error) = parts.reset_portal() {
                return refusal(&error.to_string());
            }
        }
        Some(other) => return refusal(&format!("query {other:?} is not known; use what=stats or what=portal")),
    }
    StatusCode::NO_CONTENT.into_response()
}
