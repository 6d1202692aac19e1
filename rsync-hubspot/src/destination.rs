//! The destination.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rsync_core::capability::{Addressing, Capability, Operation, OperationLimits, Rate, WriteIdempotence};
use rsync_core::destination::{Context, Destination, Found, LookupRequest, Quota, RemoteSchema, Target, WriteBatch};
use rsync_core::error::{Error, Kind, Result, Retry};
use rsync_core::ids::{AccountId, JobToken, RemoteId};
use rsync_core::outcome::{Effect, Receipt, RowOutcome};
use rsync_core::record::{FieldType, Rows};
use rsync_http::json::{Scalar, read};
use rsync_http::{Client, Response};
use serde::Deserialize;

use crate::audience;
use crate::classify;
use crate::client::{Api, BatchWrite};
use crate::config::{Builder, HubSpotConfig, RateTier};
use crate::decode::{Question, decode};
use crate::encode::{Encoded, INPUTS_MAX, encode, encode_ids, fold_of};
use crate::lookup::{Lookup, Page, over_window};
use crate::object::{Fold, KeyKind, Object};
use crate::place::Place;
use crate::property::NewProperty;
use crate::schema::{PropertiesAnswer, remote_schema};

/// Most pages of one search: what a search lists, in pages of 200.
const SEARCH_PAGES_MAX: usize = 50;

/// HubSpot's CRM. Cloning is cheap and shares connections.
///
/// One call a batch, no retry, no pause, no state; see the [crate docs](crate).
#[derive(Clone)]
pub struct HubSpot(Arc<Inner>);

struct Inner {
    api: Api,
    rate: RateTier,
    max_in_flight: usize,
    /// Which properties identify records, by object, for choosing between reading by key and searching. Whether
    /// values are unique is fixed when a property is made, so the answer does not age.
    unique: Mutex<HashMap<Object, Arc<HashMap<String, bool>>>>,
}

/// The answer to a request for the account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountAnswer<'a> {
    #[serde(borrow, default)]
    portal_id: Scalar<'a>,
}

impl HubSpot {
    /// Starts putting a destination together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts from settings read from a file.
    pub fn from_config(config: HubSpotConfig) -> Builder {
        Builder::new(config)
    }

    pub(crate) fn new(client: Client, config: &HubSpotConfig) -> Self {
        Self(Arc::new(Inner {
            api: Api::new(client, config.version),
            rate: config.rate,
            max_in_flight: config.max_in_flight,
            unique: Mutex::default(),
        }))
    }

    /// Makes a property of `object`, as a step of its own before the first run: no other call ever makes one. Returns
    /// whether it is new; `false` says that there is one of that name, of whatever type. A name that was archived comes
    /// back with its old type and values. It takes up to a second until other calls see it.
    ///
    /// The token needs `crm.schemas.<object>.write`. Dropping the future leaves open whether it was made; ask again.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] with all problems at once, before anything is sent; else those of a write.
    ///
    /// ```no_run
    /// # use rsync_core::FieldType;
    /// # use rsync_hubspot::{HubSpot, NewProperty};
    /// # async fn set_up(hubspot: &HubSpot) -> rsync_core::Result<()> {
    /// let key = NewProperty::new("external_id", "contactinformation", FieldType::Text).unique();
    /// hubspot.create_property("contacts", &key).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_property(&self, object: &str, property: &NewProperty) -> Result<bool> {
        let object = Object::parse(object)?;
        let response = self.0.api.create_property(&object, property.body()?).await?;
        match response.status() {
            409 => Ok(false),
            _ if response.is_success() => Ok(true),
            _ => Err(classify::error(&response, &|_| false)),
        }
    }

    async fn schema(&self, object: &Object) -> Result<RemoteSchema> {
        let response = self.0.api.properties(object).await?;
        let answer: PropertiesAnswer<'_> = parse(&response)?;
        let schema = remote_schema(object, &answer);
        let unique = schema.fields.iter().map(|field| (field.name.to_string(), field.unique)).collect();
        let mut cache = self.0.unique.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(object.clone(), Arc::new(unique));
        Ok(schema)
    }

    /// Whether `match_on` identifies records. Asks the service once an object, and again for a property that is new.
    async fn identifies(&self, object: &Object, match_on: &str) -> Result<bool> {
        if KeyKind::of(object, match_on) != KeyKind::Property {
            return Ok(true);
        }
        let known = self.0.unique.lock().unwrap_or_else(PoisonError::into_inner).get(object).cloned();
        if let Some(unique) = known.and_then(|unique| unique.get(match_on).copied()) {
            return Ok(unique);
        }
        let schema = self.schema(object).await?;
        let field = schema.field(match_on).ok_or_else(|| {
            Error::new(Kind::SchemaMismatch, "read records", "the object has no such property")
                .with_context("object", object.as_str())
                .with_context("field", match_on)
                .with_remedy("create the property in HubSpot or match on another one")
        })?;
        Ok(field.unique)
    }

    async fn search(&self, object: &Object, lookup: &mut Lookup, match_on: &str) -> Result<()> {
        for search in lookup.searches() {
            let mut after: Option<String> = None;
            // Counted, so that an answer that always names another page cannot go on for ever.
            for page in 1.. {
                let response = self.0.api.search(object, search.page(after.as_deref())).await?;
                match lookup.take_search(response.body()).map_err(|message| response.not_understood(message))? {
                    Page::Last => break,
                    Page::More(_) if page >= SEARCH_PAGES_MAX => return Err(over_window(match_on)),
                    Page::More(next) => after = Some(next),
                    Page::OverWindow => return Err(over_window(match_on)),
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Destination for HubSpot {
    fn kind(&self) -> &'static str {
        "hubspot"
    }

    fn capability(&self, target: &Target) -> Capability {
        let limits = |idempotence| OperationLimits::new(INPUTS_MAX, idempotence);
        let key = KeyKind::of_target(target);
        let mut capability = Capability::new()
            .with_lookup(INPUTS_MAX)
            .with_clears_fields()
            .with_per_row_outcomes()
            .with_max_in_flight(self.0.max_in_flight);
        let audience = Place::parse(&target.object).is_ok_and(|place| place.list.is_some());
        if let Some(rate) = self.0.rate.rate() {
            // Who is to be a member is read first, which is a second request of the same write.
            capability = capability.with_rate(if audience { halved(rate) } else { rate });
        }
        if audience {
            let by_either = limits(WriteIdempotence::ByKey).with_addressing(Addressing::ByKeyOrId);
            return capability
                .with_operation(Operation::AddMember, by_either)
                .with_operation(Operation::RemoveMember, by_either);
        }
        // Archiving goes by record id only.
        let by_id = limits(WriteIdempotence::ByKey).with_addressing(Addressing::ById);
        capability = capability.with_operation(Operation::Delete, by_id);
        // The record id exists only once the record does.
        if key != KeyKind::RecordId {
            capability = capability
                .with_operation(Operation::Upsert, limits(WriteIdempotence::ByKey))
                .with_operation(Operation::Create, limits(WriteIdempotence::None));
        }
        // A batch update takes no email, and whether an upsert by email keeps what it does not carry is open:
        // the documentation says no, observation says yes.
        if key != KeyKind::Email {
            capability = capability
                .with_operation(Operation::Update, by_id.with_addressing(Addressing::ByKeyOrId))
                .with_keeps_absent_fields();
        }
        capability
    }

    fn row_bytes(&self, _: &Target, _: Operation, _: &Rows, _: usize) -> usize {
        0
    }

    async fn check(&self, target: &Target) -> Result<AccountId> {
        let place = Place::parse(&target.object)?;
        let response = self.0.api.account().await?;
        let account: AccountAnswer<'_> = parse(&response)?;
        let portal = account.portal_id.as_str().filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
        let portal = portal.ok_or_else(|| response.not_understood("the answer names no account"))?;
        self.0.api.properties(&place.object).await?;
        if let Some(list) = &place.list {
            audience::check(&self.0.api, &place.object, list).await?;
        }
        Ok(AccountId::new(portal))
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        let place = Place::parse(&target.object)?;
        if let Some(list) = &place.list {
            audience::check(&self.0.api, &place.object, list).await?;
        }
        self.schema(&place.object).await
    }

    async fn lookup(&self, _: &Context, request: LookupRequest) -> Result<Found> {
        let object = Place::parse(&request.target.object)?.object;
        if request.keys.len() > INPUTS_MAX {
            return Err(Error::new(Kind::Internal, "read records", "more keys than the declared limit")
                .with_context("keys", request.keys.len())
                .with_context("limit", INPUTS_MAX));
        }
        let mut lookup = Lookup::new(&object, &request)?;
        if lookup.is_empty() {
            return lookup.finish();
        }
        let match_on = request.target.match_on.as_str();
        if self.identifies(&object, match_on).await? {
            let response = self.0.api.batch_read(&object, lookup.batch_read_body()).await?;
            lookup.take_batch_read(response.body()).map_err(|message| response.not_understood(message))?;
        } else {
            self.search(&object, &mut lookup, match_on).await?;
        }
        lookup.finish()
    }

    async fn write(&self, _: &Context, batch: WriteBatch) -> Result<Receipt> {
        let Place { object, list } = Place::parse(&batch.target.object)?;
        if batch.is_empty() {
            return Ok(Receipt::Settled(Vec::new()));
        }
        let write = match (self.call(&batch)?, list) {
            (Call::Records(write), _) => write,
            (Call::Members, Some(list)) => return audience::change(&self.0.api, &object, &list, &batch).await,
            (Call::Members, None) => return Err(not_offered(&batch)),
        };
        if let (BatchWrite::Archive, Some(ids)) = (write, &batch.ids) {
            // The answer is empty: it does not tell records that were there from those that were gone.
            self.0.api.batch_write(&object, write, encode_ids(ids)?, &|_| false).await?;
            let archived = |id| RowOutcome::written(Effect::Unspecified, Some(RemoteId::clone(id)));
            return Ok(Receipt::Settled(ids.iter().map(archived).collect()));
        }
        let Encoded { body, sent, refused } = encode(&object, &batch)?;
        let mut outcomes = vec![RowOutcome::Unknown; batch.len()];
        for (row, outcome) in refused {
            outcomes[row] = outcome;
        }
        if sent.is_empty() {
            return Ok(Receipt::Settled(outcomes));
        }
        let schema = batch.rows.schema();
        let is_field = |name: &str| schema.index_of(name).is_ok();
        let response = self.0.api.batch_write(&object, write, body, &is_field).await?;
        let match_on = batch.target.match_on.as_str();
        let key_type = schema
            .field_with_name(match_on)
            .ok()
            .and_then(|field| FieldType::from_arrow(field.data_type()))
            .unwrap_or(FieldType::Text);
        let question = Question {
            operation: batch.operation,
            key_kind: if batch.ids.is_some() { KeyKind::RecordId } else { KeyKind::of(&object, match_on) },
            fold: match batch.ids {
                Some(_) => Fold::new(KeyKind::RecordId, false),
                None => fold_of(&object, match_on, &key_type),
            },
            match_on,
            sent: &sent,
            is_field: &is_field,
        };
        let decoded = decode(&question, response.body()).map_err(|why| response.not_understood(why.message()))?;
        if decoded.stray > 0 || decoded.unknown > 0 {
            tracing::warn!(
                stray = decoded.stray,
                unknown = decoded.unknown,
                sent = sent.len(),
                status = response.status(),
                correlation_id = response.correlation_id().unwrap_or_default(),
                "the answer to a batch does not add up"
            );
        }
        for (sent, outcome) in sent.iter().zip(decoded.outcomes) {
            outcomes[sent.row] = outcome;
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

impl HubSpot {
    fn call(&self, batch: &WriteBatch) -> Result<Call> {
        let addressing = self.capability(&batch.target).limits(batch.operation).map(|limits| limits.addressing);
        let offered = addressing.is_some_and(|addressing| match batch.ids {
            Some(_) => addressing.takes_ids(),
            None => addressing.takes_keys(),
        });
        match batch.operation {
            Operation::Upsert if offered => Ok(Call::Records(BatchWrite::Upsert)),
            Operation::Create if offered => Ok(Call::Records(BatchWrite::Create)),
            Operation::Update if offered => Ok(Call::Records(BatchWrite::Update)),
            Operation::Delete if offered => Ok(Call::Records(BatchWrite::Archive)),
            Operation::AddMember | Operation::RemoveMember if offered => Ok(Call::Members),
            _ => Err(not_offered(batch)),
        }
    }
}

/// The kind of call that an operation is.
enum Call {
    Records(BatchWrite),
    Members,
}

fn not_offered(batch: &WriteBatch) -> Error {
    Error::new(Kind::Unsupported, "write a batch", "HubSpot offers no such call for this target and key")
        .with_context("operation", batch.operation.as_str())
        .with_context("field", &batch.target.match_on)
        .with_retry(Retry::Never)
        .with_remedy("choose an operation that the capability of the target lists")
}

/// The rate of calls that send two requests each.
fn halved(rate: Rate) -> Rate {
    if rate.requests < 2 { Rate::new(1, rate.per * 2) } else { Rate::new(rate.requests / 2, rate.per) }
}

/// Reads a JSON answer.
fn parse<'a, T: Deserialize<'a>>(response: &'a Response) -> Result<T> {
    read(response.body()).ok_or_else(|| response.not_understood("the answer is not what was asked for"))
}

impl fmt::Debug for HubSpot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSpot")
            .field("api", &self.0.api)
            .field("rate", &self.0.rate)
            .field("max_in_flight", &self.0.max_in_flight)
            .finish_non_exhaustive()
    }
}
