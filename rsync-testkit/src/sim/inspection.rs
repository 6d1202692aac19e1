//! Inspection endpoints that every simulator has: the fault plan and the journal.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::fault::{FaultPlan, Faults};
use super::journal::Journal;

pub(crate) fn router(faults: Faults, journal: Journal) -> Router {
    let faults = Router::new()
        .route("/faults", get(report_faults).put(set_faults).post(set_faults).delete(clear_faults))
        .with_state(faults);
    let requests = Router::new().route("/requests", get(list_requests)).with_state(journal);
    faults.merge(requests)
}

async fn report_faults(State(faults): State<Faults>) -> Response {
    Json(json!({ "rules": faults.report() })).into_response()
}

async fn set_faults(State(faults): State<Faults>, body: Bytes) -> Response {
    let plan = std::str::from_utf8(&body)
        .map_err(|e| format!("the fault plan is not UTF-8: {e}; send JSON text"))
        .and_then(|text| FaultPlan::from_json(text).map_err(|e| e.to_string()))
        .and_then(|plan| faults.set(plan).map_err(|e| e.to_string()));
    match plan {
        Ok(()) => Json(json!({ "rules": faults.report() })).into_response(),
        Err(problem) => refusal(&problem),
    }
}

async fn clear_faults(State(faults): State<Faults>) -> Response {
    faults.clear();
    StatusCode::NO_CONTENT.into_response()
}

async fn list_requests(State(journal): State<Journal>) -> Response {
    Json(json!({ "total": journal.total(), "requests": journal.entries() })).into_response()
}

/// An error of the inspection endpoints, in a form that no simulated service uses.
pub(crate) fn refusal(problem: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "problem": problem }))).into_response()
}
