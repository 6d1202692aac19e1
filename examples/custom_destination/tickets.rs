//! The destination: encode, decode, classify, and the port that they plug into.

use async_trait::async_trait;
use rsync_core::capability::{Operation, OperationLimits, WriteIdempotence};
use rsync_core::destination::{Context, Found, LookupRequest, RemoteField, RemoteSchema, Target, WriteBatch};
use rsync_core::ids::{AccountId, JobToken, RemoteId};
use rsync_core::outcome::{Effect, Receipt, RowOutcome};
use rsync_core::record::{Cell, Rows};
use rsync_core::{Capability, Destination, Error, Kind, Result, Retry};
use rsync_http::{Client, Method, Path, Request, Response};
use serde_json::{Map, Value as Json, json};

/// The codes of refused rows. A closed list, since a text of the service's could quote a value.
const CODES: [&str; 3] = ["bad_value", "read_only_field", "unknown_field"];

/// The Tickets service: up to 50 rows of text with `PUT /v1/{object}/bulk`.
#[derive(Debug)]
pub(crate) struct Tickets(pub(crate) Client);

/// A row becomes a JSON object. `null` empties a field; what the row does not carry is left out.
fn encode(batch: &WriteBatch, row: usize) -> Result<Map<String, Json>> {
    let mut fields = Map::new();
    for (name, cell) in batch.rows.cells(row) {
        let mut text = String::new();
        let json = match cell {
            Cell::Absent => continue,
            Cell::Clear => Json::Null,
            Cell::Set(value) if value.write_text(&mut text) => Json::String(text),
            // The engine splits a rejected batch until it has found the bad row.
            Cell::Set(_) => return Err(Error::new(Kind::Rejected, "encode", "a value has no text form")),
        };
        fields.insert(name.to_owned(), json);
    }
    Ok(fields)
}

/// One outcome a row. What the answer does not mention stays unknown: nobody may call it written.
fn decode(answer: &Json, rows: usize) -> Vec<RowOutcome> {
    let mut outcomes = vec![RowOutcome::Unknown; rows];
    for result in answer["results"].as_array().into_iter().flatten() {
        let row = result["row"].as_u64().and_then(|row| usize::try_from(row).ok());
        let Some(outcome) = row.and_then(|row| outcomes.get_mut(row)) else { continue };
        if let Some(id) = result["id"].as_str() {
            *outcome = RowOutcome::written(Effect::Unspecified, Some(RemoteId::new(id)));
        } else if let Some(code) = CODES.into_iter().find(|code| result["refused"] == *code) {
            *outcome = RowOutcome::rejected(code, None, "correct the value in the model, or the mapping");
        }
    }
    outcomes
}

/// What a refusal means, and whether the same request may be sent again.
fn classify(response: &Response) -> Error {
    let pause = response.retry_after().map_or(Retry::Backoff, Retry::After);
    let (kind, retry) = match response.status() {
        401 => (Kind::Unauthenticated, Retry::Never),
        403 => (Kind::Forbidden, Retry::Never),
        404 => (Kind::NotFound, Retry::Never),
        429 => (Kind::RateLimited, pause),
        503 => (Kind::Unavailable, pause),
        // It broke down at work: a write may have been carried out.
        500.. => (Kind::Unavailable, response.access().fate_unknown()),
        _ => (Kind::Rejected, Retry::Never),
    };
    response.error(kind, retry, "the service refused the request")
}

/// One request, one answer.
async fn call(client: &Client, request: Request) -> Result<Json> {
    let response = client.send(request).await?;
    match serde_json::from_slice(response.body()) {
        _ if !response.is_success() => Err(classify(&response)),
        answer => answer.map_err(|_| response.not_understood("the answer is no JSON")),
    }
}

#[async_trait]
impl Destination for Tickets {
    fn kind(&self) -> &'static str {
        "tickets"
    }

    fn capability(&self, _: &Target) -> Capability {
        let limits = OperationLimits::new(50, WriteIdempotence::ByKey);
        let upsert = Capability::new().with_operation(Operation::Upsert, limits);
        upsert.with_clears_fields().with_keeps_absent_fields().with_per_row_outcomes()
    }

    fn row_bytes(&self, _: &Target, _: Operation, _: &Rows, _: usize) -> usize {
        0 // Rows are limited, bytes are not.
    }

    async fn check(&self, target: &Target) -> Result<AccountId> {
        self.describe(target).await?;
        let account = call(&self.0, Request::read("check", Method::GET, Path::new("/v1/account"))).await?;
        let id = account["id"].as_str().map(AccountId::new);
        id.ok_or_else(|| Error::new(Kind::Protocol, "check", "the answer names no account"))
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        let path = Path::new("/v1").value("object", &target.object)?.fixed("/fields");
        let answer = call(&self.0, Request::read("describe", Method::GET, path)).await?;
        let fields = answer["fields"].as_array().into_iter().flatten().map(|json| {
            let text = |name: &str| json[name].as_str().unwrap_or_default();
            let mut field = RemoteField::new(text("name"), text("type"));
            (field.writable, field.unique) = (json["writable"] == true, json["unique"] == true);
            field
        });
        Ok(RemoteSchema::new(fields.collect()))
    }

    async fn lookup(&self, _: &Context, _: LookupRequest) -> Result<Found> {
        Err(Error::new(Kind::Unsupported, "look up", "the service has no search"))
    }

    async fn write(&self, _: &Context, batch: WriteBatch) -> Result<Receipt> {
        match (batch.operation, batch.len()) {
            (_, 0) => return Ok(Receipt::Settled(Vec::new())),
            (Operation::Upsert, 1..=50) => {}
            _ => return Err(Error::new(Kind::Unsupported, "write", "not an upsert of at most 50 rows")),
        }
        let rows: Vec<_> = (0..batch.len()).map(|row| encode(&batch, row)).collect::<Result<_>>()?;
        let body = json!({ "match_on": batch.target.match_on.as_str(), "rows": rows }).to_string();
        let path = Path::new("/v1").value("object", &batch.target.object)?.fixed("/bulk");
        let answer = call(&self.0, Request::write("write", Method::PUT, path).with_json(body)).await?;
        Ok(Receipt::Settled(decode(&answer, batch.len())))
    }

    async fn resume(&self, _: &Context, _: &WriteBatch, _: JobToken) -> Result<Receipt> {
        Err(Error::new(Kind::Unsupported, "resume", "the service has no jobs"))
    }
}
