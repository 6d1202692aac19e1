//! The calls of the Track API. Paths only; what goes in and what comes out is the business of others.

use rsync_core::error::Result;
use rsync_core::ids::FieldName;
use rsync_http::{Client, Method, Path, Request, Response};

use crate::classify;
use crate::config::Region;

/// The calls that this adapter makes.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    client: Client,
    region: Region,
}

impl Api {
    pub(crate) fn new(client: Client, region: Region) -> Self {
        Self { client, region }
    }

    /// The region that the configuration names.
    pub(crate) fn region(&self) -> Region {
        self.region
    }

    /// Where the account is, and which workspace the credentials are for.
    pub(crate) async fn account_region(&self) -> Result<Response> {
        let path = Path::new("/api/v1/accounts/region");
        self.ok(Request::read("read the account's region", Method::GET, path), &|_| None).await
    }

    /// Changes people. `field_of` finds the field of the request that the service's path leads to.
    pub(crate) async fn batch(
        &self,
        body: Vec<u8>,
        field_of: &(dyn Fn(&str) -> Option<FieldName> + Sync),
    ) -> Result<Response> {
        let path = Path::new("/api/v2/batch");
        self.ok(Request::write("write a batch", Method::POST, path).with_json(body), field_of).await
    }

    /// Adds people to a manual segment, or takes them out of it.
    pub(crate) async fn segment(&self, id: &str, id_type: &'static str, adds: bool, body: Vec<u8>) -> Result<Response> {
        let action = if adds { "/add_customers" } else { "/remove_customers" };
        let path = Path::new("/api/v1/segments").value("segment", id)?.fixed(action);
        let request = Request::write("change a segment", Method::POST, path).with_query("id_type", id_type);
        let sent = self.client.send(request.with_json(body)).await;
        let response = sent.map_err(|error| classify::transport_error(error, self.region))?;
        if response.is_success() { Ok(response) } else { Err(classify::segment_error(&response)) }
    }

    async fn ok(&self, request: Request, field_of: &(dyn Fn(&str) -> Option<FieldName> + Sync)) -> Result<Response> {
        let sent = self.client.send(request).await;
        let response = sent.map_err(|error| classify::transport_error(error, self.region))?;
        if response.is_success() { Ok(response) } else { Err(classify::error(&response, field_of)) }
    }
}
