//! Paths of the simulated endpoints. Track and App have hosts of their own; their paths do not meet, so one host does.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Response, Uri};
use axum::routing::{self, MethodFilter, MethodRouter};

use super::reply::{Reply, render};
use super::stats::Surface;
use super::workspace::{Call, Endpoint, Workspace};
use super::{app, track_segments, track_v1, track_v2};

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const PUT: MethodFilter = MethodFilter::PUT;
const DELETE: MethodFilter = MethodFilter::DELETE;

/// A workspace shared by the server's tasks.
#[derive(Clone)]
pub(crate) struct SharedWorkspace {
    workspace: Arc<Mutex<Workspace>>,
}

impl SharedWorkspace {
    pub(crate) fn new(workspace: Workspace) -> Self {
        Self { workspace: Arc::new(Mutex::new(workspace)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Workspace> {
        self.workspace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Left on a request by the server hook: another write of one of its people was in flight when it arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contended;

pub(crate) fn router(workspace: SharedWorkspace) -> Router {
    use Surface::{AppReads, AppWrites, Batch, Download, Entity, PerPerson, Region};
    let person = "/api/v1/customers/{identifier}";
    Router::new()
        .route("/api/v2/entity", on(POST, Entity, track_v2::entity))
        .route("/api/v2/batch", on(POST, Batch, track_v2::batch))
        .route("/api/v1/accounts/region", on(GET, Region, track_v1::region))
        .route(person, on(PUT, PerPerson, track_v1::identify).merge(on(DELETE, PerPerson, track_v1::delete)))
        .route(&format!("{person}/suppress"), on(POST, PerPerson, track_v1::suppress))
        .route(&format!("{person}/unsuppress"), on(POST, PerPerson, track_v1::unsuppress))
        .route(&format!("{person}/events"), on(POST, PerPerson, track_v1::event))
        .route(&format!("{person}/devices"), on(PUT, PerPerson, track_v1::add_device))
        .route(&format!("{person}/devices/{{device}}"), on(DELETE, PerPerson, track_v1::delete_device))
        .route("/api/v1/events", on(POST, PerPerson, track_v1::anonymous_event))
        .route("/api/v1/merge_customers", on(POST, PerPerson, track_v1::merge))
        .route("/api/v1/segments/{segment}/add_customers", on(POST, PerPerson, track_segments::add))
        .route("/api/v1/segments/{segment}/remove_customers", on(POST, PerPerson, track_segments::remove))
        .route("/v1/customers", on(GET, AppReads, app::by_email).merge(on(POST, AppReads, app::segments::search)))
        .route("/v1/customers/attributes", on(POST, AppReads, app::attributes_of_many))
        .route("/v1/customers/{identifier}/attributes", on(GET, AppReads, app::attributes_of_one))
        .route("/v1/customers/{identifier}/segments", on(GET, AppReads, app::person::segments))
        .route("/v1/customers/{identifier}/messages", on(GET, AppReads, app::person::messages))
        .route("/v1/customers/{identifier}/relationships", on(GET, AppReads, app::person::relationships))
        .route("/v1/customers/{identifier}/activities", on(GET, AppReads, app::person::activities_of_one))
        .route(
            "/v1/customers/{identifier}/subscription_preferences",
            on(GET, AppReads, app::person::subscription_preferences),
        )
        .route("/v1/activities", on(GET, AppReads, app::person::activities))
        .route("/v1/subscription_topics", on(GET, AppReads, app::person::topics))
        .route("/v1/segments", on(GET, AppReads, app::segments::list).merge(on(POST, AppWrites, app::segments::create)))
        .route(
            "/v1/segments/{segment}",
            on(GET, AppReads, app::segments::read).merge(on(DELETE, AppWrites, app::segments::delete)),
        )
        .route("/v1/segments/{segment}/customer_count", on(GET, AppReads, app::segments::count))
        .route("/v1/segments/{segment}/membership", on(GET, AppReads, app::segments::membership))
        .route("/v1/segments/{segment}/used_by", on(GET, AppReads, app::segments::used_by))
        .route("/v1/exports", on(GET, AppReads, app::exports::list))
        .route("/v1/exports/customers", on(POST, AppReads, app::exports::create))
        .route("/v1/exports/{export}", on(GET, AppReads, app::exports::read))
        .route("/v1/exports/{export}/download", on(GET, AppReads, app::exports::download))
        .route("/exported/{file}", on(GET, Download, app::exports::file))
        .route("/v1/workspaces", on(GET, AppReads, app::metadata::workspaces))
        .route("/v1/object_types", on(GET, AppReads, app::metadata::object_types))
        .route("/v1/index/attributes", on(GET, AppReads, app::metadata::attributes))
        .method_not_allowed_fallback(|| no_endpoint(405))
        .fallback(|| no_endpoint(404))
        .with_state(workspace)
}

type PathParts = Result<Path<HashMap<String, String>>, PathRejection>;

/// Routes a method to an endpoint. Endpoints run under the workspace's lock, so requests are handled one after the
/// other.
fn on(method: MethodFilter, surface: Surface, endpoint: Endpoint) -> MethodRouter<SharedWorkspace> {
    let handler = async move |State(shared): State<SharedWorkspace>,
                              parts: PathParts,
                              uri: Uri,
                              contended: Option<Extension<Contended>>,
                              headers: HeaderMap,
                              body: Bytes| {
        // A path that is not UTF-8 after decoding names nothing.
        let Ok(Path(path)) = parts else { return no_endpoint(404).await };
        let call = Call {
            path,
            host: headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or("127.0.0.1").to_owned(),
            target: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            query: url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
            authorization: headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned),
            body,
            contended: contended.is_some(),
        };
        shared.lock().dispatch(surface, endpoint, &call)
    };
    routing::on(method, handler)
}

fn no_endpoint(status: u16) -> Ready<Response<Body>> {
    ready(render(Reply::no_endpoint(status)).map(Body::from))
}
