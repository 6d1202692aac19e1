//! Paths of the simulated endpoints. Legacy and dated versions differ in where the version stands, per resource.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Response};
use axum::routing::{self, MethodFilter, MethodRouter};

use super::portal::{ApiVersion, Call, Endpoint, Portal};
use super::reply::{Refusal, render};
use super::stats::Surface;
use super::{account, batch, property_endpoints, search, single};

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const PATCH: MethodFilter = MethodFilter::PATCH;
const DELETE: MethodFilter = MethodFilter::DELETE;

/// A portal shared by the server's tasks.
#[derive(Clone)]
pub(crate) struct SharedPortal {
    portal: Arc<Mutex<Portal>>,
}

impl SharedPortal {
    pub(crate) fn new(portal: Portal) -> Self {
        Self { portal: Arc::new(Mutex::new(portal)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Portal> {
        self.portal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Left on a request by the server hook: another write of one of its keys was in flight when it arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contended;

pub(crate) fn router(portal: SharedPortal) -> Router {
    let mut router = Router::new();
    for (version, objects, properties, account, token) in [
        (ApiVersion::V3, "/crm/v3/objects", "/crm/v3/properties", "/account-info/v3/details", "/oauth/v1/token"),
        (
            ApiVersion::March2026,
            "/crm/objects/2026-03",
            "/crm/properties/2026-03",
            "/account-info/2026-03/details",
            "/oauth/2026-03/token",
        ),
        (
            ApiVersion::September2026,
            "/crm/objects/2026-09",
            "/crm/properties/2026-09",
            "/account-info/2026-09/details",
            "/oauth/2026-09/token",
        ),
    ] {
        let version_router = Router::new()
            .nest(objects, object_routes())
            .nest(properties, property_routes())
            .route(account, on(GET, Surface::Account, account::details))
            .route(token, on(POST, Surface::Tokens, account::token));
        router = router.merge(version_router.layer(Extension(version)));
    }
    let aliases = Router::new()
        .nest("/crm/objects/v3", object_routes())
        .route("/oauth/v3/token", on(POST, Surface::Tokens, account::token))
        .route("/oauth/v2/private-apps/get/access-token-info", on(POST, Surface::Tokens, account::introspect))
        .layer(Extension(ApiVersion::V3));
    router.merge(aliases).fallback(unknown_path).with_state(portal)
}

fn object_routes() -> Router<SharedPortal> {
    use Surface::{RecordReads, RecordWrites, Search};
    Router::new()
        .route("/{object}/batch/upsert", on(POST, RecordWrites, batch::upsert))
        .route("/{object}/batch/create", on(POST, RecordWrites, batch::create))
        .route("/{object}/batch/update", on(POST, RecordWrites, batch::update))
        .route("/{object}/batch/archive", on(POST, RecordWrites, batch::archive))
        .route("/{object}/batch/read", on(POST, RecordReads, batch::read))
        .route("/{object}/search", on(POST, Search, search::search))
        .route("/{object}", on(POST, RecordWrites, single::create).merge(on(GET, RecordReads, single::list)))
        .route(
            "/{object}/{id}",
            on(GET, RecordReads, single::read).merge(on(PATCH, RecordWrites, single::update)).merge(on(
                DELETE,
                RecordWrites,
                single::archive,
            )),
        )
}

fn property_routes() -> Router<SharedPortal> {
    use Surface::{DefinitionReads, DefinitionWrites};
    Router::new()
        .route(
            "/{object}",
            on(GET, DefinitionReads, property_endpoints::list).merge(on(
                POST,
                DefinitionWrites,
                property_endpoints::create,
            )),
        )
        .route("/{object}/batch/create", on(POST, DefinitionWrites, property_endpoints::create_batch))
        .route(
            "/{object}/{property}",
            on(GET, DefinitionReads, property_endpoints::read)
                .merge(on(PATCH, DefinitionWrites, property_endpoints::update))
                .merge(on(DELETE, DefinitionWrites, property_endpoints::archive)),
        )
}

type PathParts = Result<Path<HashMap<String, String>>, PathRejection>;

/// Routes a method to an endpoint. Endpoints run under the portal's lock, so requests are applied one after the other.
fn on(method: MethodFilter, surface: Surface, endpoint: Endpoint) -> MethodRouter<SharedPortal> {
    let handler = async move |State(shared): State<SharedPortal>,
                              Extension(version): Extension<ApiVersion>,
                              parts: PathParts,
                              RawQuery(query): RawQuery,
                              contended: Option<Extension<Contended>>,
                              headers: HeaderMap,
                              body: Bytes| {
        let mut portal = shared.lock();
        // A path that is not UTF-8 after decoding names nothing.
        let Ok(Path(path)) = parts else { return not_a_path(&mut portal) };
        let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        let call = Call { version, path, query, token: bearer(&headers), body, contended: contended.is_some() };
        portal.dispatch(surface, endpoint, &call)
    };
    routing::on(method, handler)
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn unknown_path(State(shared): State<SharedPortal>) -> Ready<Response<Body>> {
    ready(not_a_path(&mut shared.lock()))
}

fn not_a_path(portal: &mut Portal) -> Response<Body> {
    let correlation_id = portal.rng.uuid();
    render(Err(Refusal::plain(404, "resource not found")), &correlation_id, Vec::new())
}
