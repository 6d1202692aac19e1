//! Inspection endpoints of the workspace: people, objects, activities, lints, statistics, reset.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::handle::Parts;
use crate::sim::inspection::refusal;

pub(crate) fn router(parts: Parts) -> Router {
    Router::new()
        .route("/people", get(people))
        .route("/objects", get(objects))
        .route("/segments", get(segments))
        .route("/activities", get(activities))
        .route("/lints", get(lints))
        .route("/stats", get(stats))
        .route("/drain", post(drain))
        .route("/reset", post(reset))
        .with_state(parts)
}

async fn people(State(parts): State<Parts>) -> Response {
    Json(json!({ "people": parts.people(), "suppressed": parts.suppressed() })).into_response()
}

async fn objects(State(parts): State<Parts>) -> Response {
    Json(json!({ "objects": parts.objects() })).into_response()
}

async fn segments(State(parts): State<Parts>) -> Response {
    Json(json!({ "segments": parts.segments() })).into_response()
}

async fn activities(State(parts): State<Parts>) -> Response {
    let mut workspace = parts.workspace.lock();
    workspace.apply_due();
    Json(json!({ "activities": workspace.activities.all() })).into_response()
}

async fn lints(State(parts): State<Parts>) -> Response {
    let mut workspace = parts.workspace.lock();
    workspace.apply_due();
    Json(json!({ "lints": workspace.lints.all() })).into_response()
}

async fn stats(State(parts): State<Parts>) -> Response {
    Json(parts.stats()).into_response()
}

/// Applies at once what is accepted and waits.
async fn drain(State(parts): State<Parts>) -> Response {
    let applied = parts.workspace.lock().drain();
    Json(json!({ "applied": applied })).into_response()
}

/// Resets the statistics, or with `?what=workspace` also the people to the seed.
async fn reset(State(parts): State<Parts>, RawQuery(query): RawQuery) -> Response {
    match query.as_deref() {
        None | Some("" | "what=stats") => parts.reset_stats(),
        Some("what=workspace") => {
            if let Err(error) = parts.reset_workspace() {
                return refusal(&error.to_string());
            }
        }
        Some(other) => return refusal(&format!("query {other:?} is not known; use what=stats or what=workspace")),
    }
    StatusCode::NO_CONTENT.into_response()
}
