//! The destination.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rsync_core::capability::{Addressing, Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::destination::{Context, Destination, Found, LookupRequest, Quota, RemoteSchema, Target, WriteBatch};
use rsync_core::error::{Error, Kind, Result, Retry};
use rsync_core::ids::{AccountId, JobToken};
use rsync_core::outcome::{Receipt, RowOutcome};
use rsync_core::record::Rows;
use rsync_http::Response;

use crate::client::{Api, Collection};
use crate::composite::{PARTS_MAX, Part, decode_parts, refused};
use crate::config::{Builder, SalesforceConfig};
use crate::decode::{Decoded, Unreadable, decode};
use crate::encode::{Encoded, Envelope, ROWS_MAX, encode, encode_ids};
use crate::lookup::{Lookup, Page, too_many};
use crate::object::{KeyKind, Object, RECORD_ID};
use crate::record_id;
use crate::row::{Nameless, Question, Scope, remedy};
use crate::schema::{Form, KeyUse, Schema};
use crate::token::Issuer;
use crate::wire;

/// The first version that updates by key without creating.
const UPDATE_ONLY_SINCE: u16 = 61;
/// Most pages of one query, of up to 2,000 records each.
const PAGES_MAX: usize = 50;

/// Salesforce's core objects and custom objects. Cloning is cheap and shares connections and session.
///
/// One call a batch, no retry, no pause, no state; see the [crate docs](crate).
#[derive(Clone)]
pub struct Salesforce(Arc<Inner>);

struct Inner {
    api: Api,
    api_version: u16,
    max_in_flight: usize,
    /// Most rows of a write.
    rows_max: usize,
    /// The objects whose records can be pointed to by their keys.
    parents: Vec<Object>,
    /// Where tokens come from, if not from the host.
    issuer: Option<Arc<Issuer>>,
    /// Descriptions: how a value travels depends on its field. Each [`describe`](Destination::describe) renews one.
    schemas: Mutex<HashMap<Object, Arc<Schema>>>,
}

impl Salesforce {
    /// Starts putting a destination together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts from settings read from a file.
    pub fn from_config(config: SalesforceConfig) -> Builder {
        Builder::new(config)
    }

    pub(crate) fn new(api: Api, issuer: Option<Arc<Issuer>>, config: &SalesforceConfig) -> Self {
        // Other names have been refused.
        let parents = config.parents.iter().filter_map(|name| Object::parse(name).ok()).collect();
        Self(Arc::new(Inner {
            parents,
            rows_max: if config.composite { ROWS_MAX * PARTS_MAX } else { ROWS_MAX },
            api,
            api_version: config.api_version,
            max_in_flight: config.max_in_flight,
            issuer,
            schemas: Mutex::default(),
        }))
    }

    async fn fetch_schema(&self, object: &Object) -> Result<Arc<Schema>> {
        let mut schema = self.read_schema(object).await?;
        for parent in self.0.parents.iter().filter(|parent| schema.points_to(parent)).collect::<Vec<_>>() {
            let keys = self.read_schema(parent).await.map_err(|error| error.with_context("parent", parent.as_str()))?;
            schema.add_parents(parent, &keys);
        }
        let schema = Arc::new(schema);
        let mut schemas = self.0.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        schemas.insert(object.clone(), Arc::clone(&schema));
        Ok(schema)
    }

    async fn read_schema(&self, object: &Object) -> Result<Schema> {
        let response = self.0.api.describe(object).await?;
        Schema::read(response.body())
            .ok_or_else(|| response.not_understood("the answer is not the description of an object"))
    }

    /// The description as it was last read.
    async fn schema(&self, object: &Object) -> Result<Arc<Schema>> {
        let known = self.0.schemas.lock().unwrap_or_else(PoisonError::into_inner).get(object).cloned();
        match known {
            Some(schema) => Ok(schema),
            None => self.fetch_schema(object).await,
        }
    }

    async fn organization(&self) -> Result<AccountId> {
        // The token's answer tells it; a host's own token has to be asked about.
        if let Some(organization) = self.0.issuer.as_deref().and_then(Issuer::organization) {
            return Ok(AccountId::new(organization));
        }
        let response = self.0.api.query("SELECT Id FROM Organization").await?;
        let records = wire::Object::read(response.body()).and_then(|page| page.list("records")).unwrap_or_default();
        let id = records.first().and_then(|record| record_id::canonical(&record.text("Id")?));
        id.map(AccountId::new).ok_or_else(|| response.not_understood("the answer names no organization"))
    }

    /// The call for a batch.
    fn collection<'a>(&self, batch: &'a WriteBatch) -> Result<Collection<'a>> {
        let key = batch.target.match_on.as_str();
        let addressing = self.capability(&batch.target).limits(batch.operation).map(|limits| limits.addressing);
        let offered = addressing.is_some_and(|addressing| match batch.ids {
            Some(_) => addressing.takes_ids(),
            None => addressing.takes_keys(),
        });
        let by_id = batch.ids.is_some() || KeyKind::of(&batch.target) == KeyKind::RecordId;
        match batch.operation {
            Operation::Upsert if offered => Ok(Collection::Upsert(key)),
            Operation::Create if offered => Ok(Collection::Create),
            Operation::Update if offered && by_id => Ok(Collection::Update),
            Operation::Update if offered => Ok(Collection::UpdateByKey(key)),
            Operation::Delete if offered => Ok(Collection::Delete),
            operation => Err(Error::new(Kind::Unsupported, "write a batch", "there is no such call for this key")
                .with_context("operation", operation.as_str())
                .with_context("field", key)
                .with_remedy("choose an operation that the capability of the target lists")),
        }
    }
}

#[async_trait]
impl Destination for Salesforce {
    fn kind(&self) -> &'static str {
        "salesforce"
    }

    fn capability(&self, target: &Target) -> Capability {
        let limits = |idempotence| OperationLimits::new(self.0.rows_max, idempotence);
        let key = KeyKind::of(target);
        let mut capability = Capability::new()
            .with_lookup(ROWS_MAX)
            .with_clears_fields()
            .with_keeps_absent_fields()
            .with_per_row_outcomes()
            .with_max_in_flight(self.0.max_in_flight);
        // The record id exists only once the record does.
        if key != KeyKind::RecordId {
            capability = capability.with_operation(Operation::Upsert, limits(WriteIdempotence::ByKey));
        }
        // Only a unique field makes the service refuse a second record of one key.
        if key == KeyKind::Custom {
            capability = capability.with_operation(Operation::Create, limits(WriteIdempotence::None));
        }
        let by_key = match key {
            KeyKind::RecordId => true,
            KeyKind::Custom | KeyKind::Standard => self.0.api_version >= UPDATE_ONLY_SINCE,
        };
        let by_id = |or_key| {
            let addressing = if or_key { Addressing::ByKeyOrId } else { Addressing::ById };
            limits(WriteIdempotence::ByKey).with_addressing(addressing)
        };
        // Deletes name record ids only.
        capability
            .with_operation(Operation::Update, by_id(by_key))
            .with_operation(Operation::Delete, by_id(key == KeyKind::RecordId))
    }

    fn row_bytes(&self, _: &Target, _: Operation, _: &Rows, _: usize) -> usize {
        0
    }

    async fn check(&self, target: &Target) -> Result<AccountId> {
        let object = Object::parse(&target.object)?;
        let schema = match self.fetch_schema(&object).await {
            Err(error) if error.kind() == Kind::NotFound => {
                return Err(self.0.api.version_missing().await.unwrap_or(error));
            }
            schema => schema?,
        };
        if !schema.writable {
            return Err(Error::new(
                Kind::Forbidden,
                "check the object",
                "the user may neither create nor update records",
            )
            .with_context("object", object.as_str())
            .with_remedy("give the integration's user create and edit access to the object"));
        }
        self.organization().await
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        let schema = self.fetch_schema(&Object::parse(&target.object)?).await?;
        let match_on = target.match_on.as_str();
        if schema.field(match_on).is_some_and(|field| field.key == KeyUse::Shared) {
            tracing::warn!(
                object = target.object,
                field = match_on,
                "the key field is not unique: a row whose key several records share will be rejected"
            );
        }
        Ok(schema.remote())
    }

    async fn lookup(&self, _: &Context, request: LookupRequest) -> Result<Found> {
        let object = Object::parse(&request.target.object)?;
        if request.keys.len() > ROWS_MAX {
            return Err(over_limit("read records", request.keys.len(), ROWS_MAX));
        }
        let schema = self.schema(&object).await?;
        let mut lookup = Lookup::new(&object, &schema, &request)?;
        let root = self.0.api.root();
        for query in lookup.take_queries() {
            let mut response = self.0.api.query(&query).await?;
            // Counted, so that an answer that always names another page cannot go on for ever.
            for page in 1.. {
                match lookup.take_page(&root, response.body()).map_err(|why| response.not_understood(why))? {
                    Page::Last => break,
                    Page::More(_) if page >= PAGES_MAX => {
                        return Err(too_many(request.target.match_on.as_str(), PAGES_MAX));
                    }
                    Page::More(next) => response = self.0.api.query_page(&next).await?,
                }
            }
        }
        lookup.finish()
    }

    async fn write(&self, cx: &Context, batch: WriteBatch) -> Result<Receipt> {
        let object = Object::parse(&batch.target.object)?;
        if batch.is_empty() {
            return Ok(Receipt::Settled(Vec::new()));
        }
        let collection = self.collection(&batch)?;
        if batch.len() > self.0.rows_max {
            return Err(over_limit("write a batch", batch.len(), self.0.rows_max));
        }
        let (mut nameless, mut schema) = (Nameless::Own, None);
        if collection != Collection::Delete {
            let schema = schema.insert(self.schema(&object).await?);
            check_key(&object, schema, &batch)?;
            if makes_records(batch.operation) {
                nameless = Nameless::Open;
            } else if points(schema, &batch) {
                nameless = Nameless::OwnOrParent;
            }
        }
        let schema = schema.as_deref();
        let mut outcomes = vec![RowOutcome::Unknown; batch.len()];
        let mut parts = Vec::with_capacity(batch.len().div_ceil(ROWS_MAX));
        let envelope = if batch.len() > ROWS_MAX { Envelope::Composite } else { Envelope::None };
        for first in (0..batch.len()).step_by(ROWS_MAX) {
            let part = part_of(&batch, first)?;
            let encoded = schema.map_or_else(|| encode_ids(&part), |schema| encode(&object, schema, &part, envelope));
            let Encoded { body, sent, refused } = encoded?;
            for (row, outcome) in refused {
                outcomes[first + row] = outcome;
            }
            if !sent.is_empty() {
                parts.push((body, sent.into_iter().map(|row| first + row).collect::<Vec<usize>>()));
            }
        }
        let is_field = |name: &str| batch.rows.schema().index_of(name).is_ok();
        let first_upsert = batch.operation == Operation::Upsert && cx.attempt == 1;
        let raced_key = first_upsert.then_some(batch.target.match_on.as_str());
        let sent_fields = batch.rows.schema();
        let sent_fields = sent_fields.fields().iter().filter_map(|field| schema?.field(field.name()));
        let parents: Vec<_> = sent_fields
            .filter_map(|field| field.parent.as_ref().map(|p| (p.object.as_str(), p.key.as_str(), field.name.as_str())))
            .collect();
        let question = Question { raced_key, is_field: &is_field, nameless, parents: &parents };
        if parts.len() > 1 {
            let bodies = parts.iter().map(|(body, _)| body.as_slice());
            let response = self.0.api.write_composite(&object, collection, bodies, &is_field).await?;
            let counts: Vec<usize> = parts.iter().map(|(_, sent)| sent.len()).collect();
            let answers = decode_parts(batch.operation, &question, &counts, response.body())
                .ok_or_else(|| response.not_understood("the answer does not list what became of collections"))?;
            if let Some(error) = refused(&response, &answers) {
                return Err(error);
            }
            let halts = answers.iter().filter_map(|part| match part {
                Part::Answered(decoded) => decoded.halt.map(|scope| halted(&response, scope, decoded)),
                Part::Refused(..) | Part::Open => None,
            });
            let mut halts: Vec<Error> = halts.collect();
            if halts.len() == parts.len() {
                return Err(halts.swap_remove(0));
            }
            for ((_, sent), answer) in parts.into_iter().zip(answers) {
                for (row, outcome) in sent.iter().zip(answer.outcomes(sent.len())) {
                    outcomes[*row] = outcome;
                }
            }
        } else if let Some((body, sent)) = parts.pop() {
            let response = self.0.api.write(&object, collection, body, &is_field).await?;
            let decoded = decode(batch.operation, &question, sent.len(), response.body())
                .map_err(|why| unreadable(&response, why, sent.len()))?;
            if let Some(scope) = decoded.halt {
                return Err(halted(&response, scope, &decoded));
            }
            for (row, outcome) in sent.into_iter().zip(decoded.outcomes) {
                outcomes[row] = outcome;
            }
        }
        Ok(Receipt::Settled(outcomes))
    }

    async fn resume(&self, _: &Context, _: &WriteBatch, _: JobToken) -> Result<Receipt> {
        Err(Error::new(Kind::NotFound, "resume a job", "this destination has no jobs"))
    }

    fn quota(&self) -> Option<Quota> {
        self.0.api.quota()
    }
}

fn over_limit(operation: &'static str, rows: usize, limit: usize) -> Error {
    Error::new(Kind::Internal, operation, "more rows than the declared limit")
        .with_context("rows", rows)
        .with_context("limit", limit)
}

/// The rows of one collection.
fn part_of(batch: &WriteBatch, first: usize) -> Result<WriteBatch> {
    let rows = ROWS_MAX.min(batch.len() - first);
    let target = batch.target.clone();
    let part = WriteBatch::new(batch.id, batch.operation, target, batch.rows.slice(first, rows))?;
    match &batch.ids {
        Some(ids) => part.with_ids(ids[first..first + rows].to_vec()),
        None => Ok(part),
    }
}

fn makes_records(operation: Operation) -> bool {
    !matches!(operation, Operation::Update | Operation::Delete)
}

/// Whether rows can point to other records.
fn points(schema: &Schema, batch: &WriteBatch) -> bool {
    let is_reference =
        |name: &str| schema.field(name).is_none_or(|field| field.form == Form::Id || field.parent.is_some());
    let rows = batch.rows.schema();
    rows.fields().iter().any(|field| field.name() != RECORD_ID && is_reference(field.name()))
}

/// The plan has refused other keys already, unless the field was changed since.
fn check_key(object: &Object, schema: &Schema, batch: &WriteBatch) -> Result<()> {
    let key = schema.known(object, batch.target.match_on.as_str())?;
    let identifies = match batch.operation {
        _ if batch.ids.is_some() => true,
        Operation::Create => key.key == KeyUse::Unique,
        _ => key.key != KeyUse::No,
    };
    if identifies {
        return Ok(());
    }
    Err(Error::new(Kind::SchemaMismatch, "write a batch", "the key field does not identify records")
        .with_context("object", object.as_str())
        .with_context("field", &key.name)
        .with_remedy("match on an external id that is unique and that the user may write"))
}

fn unreadable(response: &Response, why: Unreadable, sent: usize) -> Error {
    match why {
        Unreadable::Shape => response.not_understood("the answer does not list results of rows"),
        Unreadable::Count(found) => response
            .not_understood("the answer lists results of another number of rows")
            .with_context("sent", sent)
            .with_context("found", found),
    }
}

/// The error for an answer in which no row was written for a reason that concerns all of them.
fn halted(response: &Response, scope: Scope, decoded: &Decoded) -> Error {
    if scope == Scope::Storage {
        return response
            .error(Kind::QuotaExhausted, Retry::Never, "the organization has no room for records left")
            .with_context("code", "STORAGE_LIMIT_EXCEEDED")
            .with_remedy("delete records or buy storage; what was not written is sent by a later run");
    }
    let error = response.error(Kind::SchemaMismatch, Retry::Never, "a mapped field cannot be written in any row");
    let Some(RowOutcome::Rejected { code, field, .. }) = decoded.outcomes.first() else { return error };
    let error = error.with_context("code", code).with_remedy(remedy(code));
    match field {
        Some(field) => error.with_context("field", field),
        None => error,
    }
}

impl fmt::Debug for Salesforce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salesforce")
            .field("api", &self.0.api)
            .field("issuer", &self.0.issuer)
            .field("max_in_flight", &self.0.max_in_flight)
            .finish_non_exhaustive()
    }
}
