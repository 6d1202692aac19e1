//! The calls of the API. Paths only; what goes in and what comes out is the business of others.

use std::sync::{Arc, Mutex, PoisonError};

use rsync_core::destination::Quota;
use rsync_core::error::{Kind, Result, Retry};
use rsync_http::header::HeaderName;
use rsync_http::{Client, Method, Path, Request, Response};

use crate::classify;
use crate::config::ApiVersion;
use crate::object::Object;
use crate::place::ListId;
use crate::quota;

const DAILY: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-daily");
const DAILY_REMAINING: HeaderName = HeaderName::from_static("x-hubspot-ratelimit-daily-remaining");

/// The calls that this adapter makes.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    client: Client,
    version: ApiVersion,
    /// What the last answer said about the calls of a day.
    quota: Arc<Mutex<Option<Quota>>>,
}

/// A batch call that changes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchWrite {
    Upsert,
    Create,
    Update,
    Archive,
}

impl Api {
    pub(crate) fn new(client: Client, version: ApiVersion) -> Self {
        Self { client, version, quota: Arc::default() }
    }

    pub(crate) fn quota(&self) -> Option<Quota> {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who the token belongs to.
    pub(crate) async fn account(&self) -> Result<Response> {
        let path = Path::new(match self.version {
            ApiVersion::V3 => "/account-info/v3/details",
            ApiVersion::V2026_03 => "/account-info/2026-03/details",
            ApiVersion::V2026_09 => "/account-info/2026-09/details",
        });
        self.ok(Request::read("read the account", Method::GET, path), &no_field).await
    }

    /// The property definitions of `object`.
    pub(crate) async fn properties(&self, object: &Object) -> Result<Response> {
        let path = self.property_definitions(object)?;
        self.ok(Request::read("read the properties", Method::GET, path), &no_field).await
    }

    /// Makes a property of `object`.
    pub(crate) async fn create_property(&self, object: &Object, body: Vec<u8>) -> Result<Response> {
        let path = self.property_definitions(object)?;
        self.send(Request::write("create a property", Method::POST, path).with_json(body)).await
    }

    fn property_definitions(&self, object: &Object) -> Result<Path> {
        Path::new(match self.version {
            ApiVersion::V3 => "/crm/v3/properties",
            ApiVersion::V2026_03 => "/crm/properties/2026-03",
            ApiVersion::V2026_09 => "/crm/properties/2026-09",
        })
        .value("object", object.as_str())
    }

    /// Records by key.
    pub(crate) async fn batch_read(&self, object: &Object, body: Vec<u8>) -> Result<Response> {
        let path = self.objects(object)?.fixed("/batch/read");
        self.ok(Request::read("read records", Method::POST, path).with_json(body), &no_field).await
    }

    /// Records by a property that does not identify them.
    pub(crate) async fn search(&self, object: &Object, body: Vec<u8>) -> Result<Response> {
        let path = self.objects(object)?.fixed("/search");
        self.ok(Request::read("search records", Method::POST, path).with_json(body), &no_field).await
    }

    /// Changes records. `is_field` tells the fields of the request from other text.
    pub(crate) async fn batch_write(
        &self,
        object: &Object,
        write: BatchWrite,
        body: Vec<u8>,
        is_field: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Response> {
        let path = self.objects(object)?.fixed(match write {
            BatchWrite::Upsert => "/batch/upsert",
            BatchWrite::Create => "/batch/create",
            BatchWrite::Update => "/batch/update",
            BatchWrite::Archive => "/batch/archive",
        });
        self.ok(Request::write("write a batch", Method::POST, path).with_json(body), is_field).await
    }

    /// A list, without its members.
    pub(crate) async fn list(&self, list: &ListId) -> Result<Response> {
        let path = self.lists(list)?;
        self.ok(Request::read("read the list", Method::GET, path), &no_field).await
    }

    /// Adds or removes members of a list.
    pub(crate) async fn members(&self, list: &ListId, adds: bool, ids: Vec<u8>) -> Result<Response> {
        let path = self.lists(list)?.fixed(if adds { "/memberships/add" } else { "/memberships/remove" });
        let response =
            self.send(Request::write("change the members of a list", Method::PUT, path).with_json(ids)).await?;
        if response.status() == 400 {
            // Ids that do not exist are passed over, so no row is to blame and none would be found by halving.
            let message = "the service refuses to change the members of the list";
            return Err(response
                .error(Kind::Unsupported, Retry::Never, message)
                .with_context("list", list.as_str())
                .with_remedy("use a list of type MANUAL or SNAPSHOT"));
        }
        if response.is_success() { Ok(response) } else { Err(classify::error(&response, &no_field)) }
    }

    fn lists(&self, list: &ListId) -> Result<Path> {
        Path::new(match self.version {
            ApiVersion::V3 => "/crm/v3/lists",
            ApiVersion::V2026_03 => "/crm/lists/2026-03",
            ApiVersion::V2026_09 => "/crm/lists/2026-09",
        })
        .value("list", list.as_str())
    }

    fn objects(&self, object: &Object) -> Result<Path> {
        Path::new(match self.version {
            ApiVersion::V3 => "/crm/v3/objects",
            ApiVersion::V2026_03 => "/crm/objects/2026-03",
            ApiVersion::V2026_09 => "/crm/objects/2026-09",
        })
        .value("object", object.as_str())
    }

    async fn ok(&self, request: Request, is_field: &(dyn Fn(&str) -> bool + Sync)) -> Result<Response> {
        let response = self.send(request).await?;
        if response.is_success() { Ok(response) } else { Err(classify::error(&response, is_field)) }
    }

    async fn send(&self, request: Request) -> Result<Response> {
        let response = self.client.send(request).await?;
        if let Some(quota) = quota::parse(response.header(&DAILY), response.header(&DAILY_REMAINING)) {
            *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
        }
        Ok(response)
    }
}

fn no_field(_: &str) -> bool {
    false
}
