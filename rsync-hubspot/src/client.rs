//! The calls of the API. Paths only; what goes in and what comes out is the business of others.

use rsync_core::error::Result;
use rsync_http::{Client, Method, Path, Request, Response};

use crate::classify;
use crate::config::ApiVersion;
use crate::object::Object;

/// The calls that this adapter makes.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    client: Client,
    version: ApiVersion,
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
        Self { client, version }
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
        let path = Path::new(match self.version {
            ApiVersion::V3 => "/crm/v3/properties",
            ApiVersion::V2026_03 => "/crm/properties/2026-03",
            ApiVersion::V2026_09 => "/crm/properties/2026-09",
        })
        .value("object", object.as_str())?;
        self.ok(Request::read("read the properties", Method::GET, path), &no_field).await
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

    fn objects(&self, object: &Object) -> Result<Path> {
        Path::new(match self.version {
            ApiVersion::V3 => "/crm/v3/objects",
            ApiVersion::V2026_03 => "/crm/objects/2026-03",
            ApiVersion::V2026_09 => "/crm/objects/2026-09",
        })
        .value("object", object.as_str())
    }

    async fn ok(&self, request: Request, is_field: &(dyn Fn(&str) -> bool + Sync)) -> Result<Response> {
        let response = self.client.send(request).await?;
        if response.is_success() { Ok(response) } else { Err(classify::error(&response, is_field)) }
    }
}

fn no_field(_: &str) -> bool {
    false
}
