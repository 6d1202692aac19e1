//! The calls of the API. Paths only; what goes in and what comes out is the business of others.

use std::sync::{Arc, Mutex, PoisonError};

use rsync_core::destination::Quota;
use rsync_core::error::{Error, Kind, Result};
use rsync_http::header::{ACCEPT, HeaderName};
use rsync_http::{Client, Method, Path, Request, Response};

use crate::classify;
use crate::composite;
use crate::decode::is_results;
use crate::object::Object;
use crate::quota;

const CALL_OPTIONS: HeaderName = HeaderName::from_static("sforce-call-options");
const AUTO_ASSIGN: HeaderName = HeaderName::from_static("sforce-auto-assign");
const DUPLICATE_RULES: HeaderName = HeaderName::from_static("sforce-duplicate-rule-header");
const LIMIT_INFO: HeaderName = HeaderName::from_static("sforce-limit-info");

/// The calls that this adapter makes.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    client: Client,
    version: String,
    auto_assign: String,
    saves_alerted: bool,
    /// What the last answer said about the calls of a day.
    quota: Arc<Mutex<Option<Quota>>>,
}

/// A collection call that changes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collection<'a> {
    /// By the key field of this name.
    Upsert(&'a str),
    Create,
    /// By record id.
    Update,
    /// By the key field of this name.
    UpdateByKey(&'a str),
    /// By record id. Its body is the list of ids, which travels in the address.
    Delete,
}

impl Api {
    pub(crate) fn new(client: Client, api_version: u16, auto_assign: String, saves_alerted: bool) -> Self {
        Self { client, version: format!("v{api_version}.0"), auto_assign, saves_alerted, quota: Arc::default() }
    }

    pub(crate) fn quota(&self) -> Option<Quota> {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all paths begin with.
    pub(crate) fn root(&self) -> String {
        format!("/services/data/{}", self.version)
    }

    /// What the version offers; that it answers proves that the organization has the version.
    pub(crate) async fn resources(&self) -> Result<Response> {
        self.ok(Request::read("list the resources", Method::GET, self.path()?)).await
    }

    /// The description of `object`.
    pub(crate) async fn describe(&self, object: &Object) -> Result<Response> {
        let path = self.path()?.fixed("/sobjects").value("object", object.as_str())?.fixed("/describe");
        self.ok(Request::read("describe the object", Method::GET, path)).await
    }

    /// The first page of a query.
    pub(crate) async fn query(&self, query: &str) -> Result<Response> {
        let path = self.path()?.fixed("/query");
        self.ok(Request::read("read records", Method::GET, path).with_query("q", query)).await
    }

    /// A further page of a query.
    pub(crate) async fn query_page(&self, page: &str) -> Result<Response> {
        let path = self.path()?.fixed("/query").value("page", page)?;
        self.ok(Request::read("read records", Method::GET, path)).await
    }

    /// Changes records. `is_field` tells the fields of the request from other text.
    pub(crate) async fn write(
        &self,
        object: &Object,
        collection: Collection<'_>,
        body: Vec<u8>,
        is_field: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Response> {
        let path = self.path()?.fixed("/composite/sobjects");
        let keyed = |path: Path, key: &str| path.value("object", object.as_str())?.value("key", key);
        let request = |method, path| Request::write("write a batch", method, path);
        let request = match collection {
            Collection::Create => request(Method::POST, path).with_json(body),
            Collection::Update => request(Method::PATCH, path).with_json(body),
            Collection::Upsert(key) => request(Method::PATCH, keyed(path, key)?).with_json(body),
            Collection::UpdateByKey(key) => {
                request(Method::PATCH, keyed(path, key)?).with_json(body).with_query("updateOnly", "true")
            }
            Collection::Delete => request(Method::DELETE, path)
                .with_query("ids", String::from_utf8_lossy(&body))
                .with_query("allOrNone", "false"),
        };
        let mut request = request.with_header(AUTO_ASSIGN, &self.auto_assign)?;
        if self.saves_alerted {
            request = request.with_header(DUPLICATE_RULES, "allowSave=true")?;
        }
        let response = self.send(request).await?;
        // Where all rows failed, the status may be that of a refused request.
        if response.is_success() || (response.status() == 400 && is_results(response.body())) {
            return Ok(response);
        }
        Err(classify::error(&response, is_field))
    }

    /// Changes records by several collection calls in one. The names in them have been checked.
    pub(crate) async fn write_composite(
        &self,
        object: &Object,
        collection: Collection<'_>,
        bodies: impl Iterator<Item = &[u8]>,
        is_field: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Response> {
        let root = format!("{}/composite/sobjects", self.root());
        let (method, address) = match collection {
            Collection::Create => ("POST", root),
            Collection::Update => ("PATCH", root),
            Collection::Upsert(key) => ("PATCH", format!("{root}/{}/{key}", object.as_str())),
            Collection::UpdateByKey(key) => ("PATCH", format!("{root}/{}/{key}?updateOnly=true", object.as_str())),
            Collection::Delete => ("DELETE", root),
        };
        let rules = if self.saves_alerted { r#","Sforce-Duplicate-Rule-Header":"allowSave=true""# } else { "" };
        let headers = format!(r#"{{"Sforce-Auto-Assign":"{}"{rules}}}"#, self.auto_assign);
        let mut parts = Vec::new();
        for (part, body) in bodies.enumerate() {
            let body = String::from_utf8_lossy(body);
            let (address, body) = match collection {
                Collection::Delete => (format!("{address}?ids={body}&allOrNone=false"), String::new()),
                _ => (address.clone(), format!(r#","body":{body}"#)),
            };
            let name = composite::part_name(part);
            let part = format!(
                r#"{{"method":"{method}","url":"{address}","referenceId":"{name}","httpHeaders":{headers}{body}}}"#
            );
            parts.push(part);
        }
        let body = format!(r#"{{"allOrNone":false,"compositeRequest":[{}]}}"#, parts.join(","));
        let request = Request::write("write a batch", Method::POST, self.path()?.fixed("/composite")).with_json(body);
        let response = self.send(request.with_header(AUTO_ASSIGN, &self.auto_assign)?).await?;
        if response.is_success() { Ok(response) } else { Err(classify::error(&response, is_field)) }
    }

    fn path(&self) -> Result<Path> {
        Path::new("/services/data").value("version", &self.version)
    }

    async fn ok(&self, request: Request) -> Result<Response> {
        let response = self.send(request).await?;
        if response.is_success() { Ok(response) } else { Err(classify::error(&response, &|_| false)) }
    }

    async fn send(&self, request: Request) -> Result<Response> {
        let request = request.with_header(ACCEPT, "application/json")?.with_header(CALL_OPTIONS, "client=rsync")?;
        let response = self.client.send(request).await?;
        if let Some(quota) = response.header(&LIMIT_INFO).and_then(quota::parse) {
            *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
        }
        Ok(response)
    }

    /// The error for an object that is not found, where the whole version is missing.
    pub(crate) async fn version_missing(&self) -> Option<Error> {
        let error = self.resources().await.err()?;
        (error.kind() == Kind::NotFound).then(|| {
            Error::new(Kind::Unsupported, "check the version of the API", "the organization does not have this version")
                .with_context("version", &self.version)
                .with_remedy("set an api_version that GET /services/data lists, or check the instance URL")
        })
    }
}
