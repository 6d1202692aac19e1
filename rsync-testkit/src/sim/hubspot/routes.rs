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

use super::association::{batch as associations, single as association};
use super::consent::{legacy as old_consent, statuses};
use super::lists::{definitions as lists, members};
use super::portal::{ApiVersion, Call, Endpoint, Portal};
use super::reply::{Refusal, render};
use super::stats::Surface;
use super::{account, batch, groups, merge, property_endpoints, schemas, search, single};

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const PUT: MethodFilter = MethodFilter::PUT;
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
    for (version, date) in [(ApiVersion::March2026, "2026-03"), (ApiVersion::September2026, "2026-09")] {
        let objects = object_routes().merge(association_routes());
        let version_router = Router::new()
            .nest(&format!("/crm/objects/{date}"), objects)
            .nest(&format!("/crm/properties/{date}"), property_routes())
            .nest(&format!("/crm/associations/{date}"), association_batch_routes())
            .nest(&format!("/crm/lists/{date}"), list_routes())
            .nest(&format!("/crm-object-schemas/{date}/schemas"), schema_routes())
            .nest(&format!("/communication-preferences/{date}"), consent_routes())
            .route(&format!("/account-info/{date}/details"), on(GET, Surface::Account, account::details))
            .route(&format!("/oauth/{date}/token"), on(POST, Surface::Tokens, account::token));
        router = router.merge(version_router.layer(Extension(version)));
    }
    router.merge(legacy_routes()).fallback(unknown_path).with_state(portal)
}

/// Paths of the versions before the dated ones. Which number a resource had is its own affair.
fn legacy_routes() -> Router<SharedPortal> {
    use Surface::{ConsentReads, ConsentWrites};
    let old_consent = Router::new()
        .route("/subscribe", on(POST, ConsentWrites, old_consent::subscribe))
        .route("/unsubscribe", on(POST, ConsentWrites, old_consent::unsubscribe))
        .route("/status/email/{email}", on(GET, ConsentReads, old_consent::read))
        .route("/definitions", on(GET, ConsentReads, old_consent::definitions));
    Router::new()
        .nest("/crm/v3/objects", object_routes())
        .nest("/crm/objects/v3", object_routes())
        .nest("/crm/v3/properties", property_routes())
        .nest("/crm/v4/objects", association_routes())
        .nest("/crm/v4/associations", association_batch_routes())
        .nest("/crm/v3/lists", list_routes())
        // The legacy collection ends in a slash in the schema, and clients send it so.
        .route("/crm/v3/lists/", list_collection())
        .nest("/crm-object-schemas/v3/schemas", schema_routes())
        .nest("/crm/v3/schemas", schema_routes())
        .nest("/communication-preferences/v4", consent_routes())
        .nest("/communication-preferences/v3", old_consent)
        .route("/account-info/v3/details", on(GET, Surface::Account, account::details))
        .route("/oauth/v1/token", on(POST, Surface::Tokens, account::token))
        .route("/oauth/v3/token", on(POST, Surface::Tokens, account::token))
        .route("/oauth/v2/private-apps/get/access-token-info", on(POST, Surface::Tokens, account::introspect))
        .layer(Extension(ApiVersion::V3))
}

fn association_routes() -> Router<SharedPortal> {
    use Surface::{AssociationReads, AssociationWrites};
    Router::new()
        .route("/{object}/{id}/associations/{to}", on(GET, AssociationReads, association::list))
        .route(
            "/{object}/{id}/associations/{to}/{to_id}",
            on(PUT, AssociationWrites, association::create).merge(on(DELETE, AssociationWrites, association::archive)),
        )
        .route(
            "/{object}/{id}/associations/default/{to}/{to_id}",
            on(PUT, AssociationWrites, association::create_default),
        )
}

fn association_batch_routes() -> Router<SharedPortal> {
    use Surface::{AssociationReads, AssociationWrites, DefinitionWrites};
    Router::new()
        .route("/{object}/{to}/batch/create", on(POST, AssociationWrites, associations::create))
        .route("/{object}/{to}/batch/associate/default", on(POST, AssociationWrites, associations::create_default))
        .route("/{object}/{to}/batch/read", on(POST, AssociationReads, associations::read))
        .route("/{object}/{to}/batch/archive", on(POST, AssociationWrites, associations::archive))
        .route("/{object}/{to}/batch/labels/archive", on(POST, AssociationWrites, associations::archive_labels))
        .route(
            "/{object}/{to}/labels",
            on(GET, AssociationReads, association::labels).merge(on(POST, DefinitionWrites, association::create_label)),
        )
}

fn list_collection() -> MethodRouter<SharedPortal> {
    on(POST, Surface::ListWrites, lists::create).merge(on(GET, Surface::ListReads, lists::read_many))
}

fn list_routes() -> Router<SharedPortal> {
    use Surface::{ListReads, ListWrites};
    Router::new()
        .route("/", list_collection())
        .route("/search", on(POST, ListReads, lists::search))
        .route("/object-type-id/{object}/name/{name}", on(GET, ListReads, lists::read_by_name))
        .route("/{list}", on(GET, ListReads, lists::read).merge(on(DELETE, ListWrites, lists::delete)))
        .route("/{list}/restore", on(PUT, ListWrites, lists::restore))
        .route("/{list}/update-list-name", on(PUT, ListWrites, lists::rename))
        .route(
            "/{list}/memberships",
            on(GET, ListReads, members::read).merge(on(DELETE, ListWrites, members::remove_all)),
        )
        .route("/{list}/memberships/add", on(PUT, ListWrites, members::add))
        .route("/{list}/memberships/remove", on(PUT, ListWrites, members::remove))
        .route("/{list}/memberships/add-and-remove", on(PUT, ListWrites, members::add_and_remove))
        .route("/{list}/memberships/add-from/{source}", on(PUT, ListWrites, members::add_from))
}

fn schema_routes() -> Router<SharedPortal> {
    use Surface::{DefinitionReads, DefinitionWrites};
    Router::new()
        .route("/", on(GET, DefinitionReads, schemas::list).merge(on(POST, DefinitionWrites, schemas::create)))
        .route(
            "/{object}",
            on(GET, DefinitionReads, schemas::read).merge(on(PATCH, DefinitionWrites, schemas::update)).merge(on(
                DELETE,
                DefinitionWrites,
                schemas::delete,
            )),
        )
}

fn consent_routes() -> Router<SharedPortal> {
    use Surface::{ConsentReads, ConsentWrites};
    Router::new()
        .route("/definitions", on(GET, ConsentReads, statuses::definitions))
        .route("/statuses/batch/write", on(POST, ConsentWrites, statuses::write_batch))
        .route(
            "/statuses/{email}",
            on(GET, ConsentReads, statuses::read).merge(on(POST, ConsentWrites, statuses::write)),
        )
        .route("/statuses/{email}/unsubscribe-all", on(POST, ConsentWrites, statuses::unsubscribe_all))
}

fn object_routes() -> Router<SharedPortal> {
    use Surface::{RecordReads, RecordWrites, Search};
    Router::new()
        .route("/{object}/batch/upsert", on(POST, RecordWrites, batch::upsert))
        .route("/{object}/batch/create", on(POST, RecordWrites, batch::create))
        .route("/{object}/batch/update", on(POST, RecordWrites, batch::update))
        .route("/{object}/batch/archive", on(POST, RecordWrites, batch::archive))
        .route("/{object}/batch/read", on(POST, RecordReads, batch::read))
        .route("/{object}/merge", on(POST, RecordWrites, merge::merge))
        .route("/{object}/gdpr-delete", on(POST, RecordWrites, merge::gdpr_delete))
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
            "/{object}/groups",
            on(GET, DefinitionReads, groups::list).merge(on(POST, DefinitionWrites, groups::create)),
        )
        .route("/{object}/groups/{group}", on(GET, DefinitionReads, groups::read))
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
