//! The destination.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::capability::{Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::destination::{Context, Destination, Found, LookupRequest, RemoteSchema, Target, WriteBatch};
use rsync_core::error::{Error, Kind, Result};
use rsync_core::ids::{AccountId, FieldName, JobToken};
use rsync_core::outcome::{Receipt, RowOutcome};
use rsync_core::record::Rows;
use rsync_http::Client;
use rsync_http::json::read;

use crate::client::Api;
use crate::config::{Builder, CustomerIoConfig, RequestRate};
use crate::decode::decode;
use crate::encode::{Encoded, ROWS_BYTES_MAX, encode, row_bytes};
use crate::object::{EVENTS, Object, PEOPLE, SEGMENTS};
use crate::person::Identifier;
use crate::policy::Policy;
use crate::schema::{check_columns, remote_schema};
use crate::segment;
use crate::wire::RegionAnswer;

/// For how long the service is trusted to know the id of an event. It does not say; a run and its next ones fall within a
/// day, and what is in doubt for longer is left for somebody to look at.
const EVENT_ID_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// A Customer.io workspace. Cloning is cheap and shares connections.
///
/// One call a batch, no retry, no pause, no state; see the [crate docs](crate).
#[derive(Clone)]
pub struct CustomerIo(Arc<Inner>);

struct Inner {
    api: Api,
    rate: RequestRate,
    max_in_flight: usize,
    max_rows: usize,
    policy: Policy,
}

impl CustomerIo {
    /// Starts putting a destination together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts from settings read from a file.
    pub fn from_config(config: CustomerIoConfig) -> Builder {
        Builder::new(config)
    }

    /// People, addressed by `match_on`: `id`, `email`, `phone` or `cio_id`.
    pub fn people(match_on: &str) -> Target {
        Target::new(PEOPLE, match_on)
    }

    /// Events of this name, of the people that `match_on` addresses.
    ///
    /// ```
    /// # use rsync_customerio::CustomerIo;
    /// assert_eq!(CustomerIo::events("order_paid", "id").object, "events/order_paid");
    /// ```
    pub fn events(name: &str, match_on: &str) -> Target {
        Target::new(format!("{EVENTS}{name}"), match_on)
    }

    /// The members of the manual segment of this number, addressed by `match_on`: `id`, `email` or `cio_id`.
    pub fn segment(number: u64, match_on: &str) -> Target {
        Target::new(format!("{SEGMENTS}{number}"), match_on)
    }

    pub(crate) fn new(client: Client, config: &CustomerIoConfig) -> Self {
        Self(Arc::new(Inner {
            api: Api::new(client, config.region),
            rate: config.rate,
            max_in_flight: config.max_in_flight,
            max_rows: config.max_rows,
            policy: Policy {
                empty_text: config.empty_text,
                allow_resubscribe: config.allow_resubscribe,
                deletion: config.deletion,
            },
        }))
    }

    fn check_batch(&self, batch: &WriteBatch) -> Result<()> {
        let key = Identifier::of_target(&batch.target)?;
        let Some(limits) = self.capability(&batch.target).limits(batch.operation) else {
            return Err(unsupported("write a batch", "the object has no such operation")
                .with_context("operation", batch.operation.as_str())
                .with_remedy("choose an operation that the capability of the target lists"));
        };
        if batch.len() > limits.max_rows {
            return Err(Error::new(Kind::Internal, "write a batch", "the batch is larger than the declared limit")
                .with_context("rows", batch.len())
                .with_context("limit", limits.max_rows));
        }
        check_columns(self.0.policy, Object::of(&batch.target)?, key, batch.rows.schema())
    }
}

#[async_trait]
impl Destination for CustomerIo {
    fn kind(&self) -> &'static str {
        "customerio"
    }

    fn capability(&self, target: &Target) -> Capability {
        let items = |idempotence| OperationLimits::new(self.0.max_rows, idempotence).with_max_bytes(ROWS_BYTES_MAX);
        let members = OperationLimits::new(self.0.max_rows.min(segment::PEOPLE_MAX), WriteIdempotence::ByKey);
        let capability = Capability::new().with_per_row_outcomes().with_max_in_flight(self.0.max_in_flight);
        let capability = match Object::of(target) {
            Ok(Object::People) => capability
                .with_operation(Operation::Upsert, items(WriteIdempotence::ByKey))
                .with_operation(Operation::Delete, items(WriteIdempotence::ByKey))
                .with_clears_fields()
                .with_keeps_absent_fields(),
            Ok(Object::Events(_)) => {
                let append = items(WriteIdempotence::ByToken).with_token_retention(EVENT_ID_RETENTION);
                capability.with_operation(Operation::Append, append)
            }
            Ok(Object::Segment(_)) => capability
                .with_operation(Operation::AddMember, members)
                .with_operation(Operation::RemoveMember, members),
            Err(_) => return Capability::new(),
        };
        match self.0.rate.rate() {
            Some(rate) => capability.with_rate(rate),
            None => capability,
        }
    }

    fn row_bytes(&self, target: &Target, operation: Operation, rows: &Rows, row: usize) -> usize {
        row_bytes(self.0.policy, target, operation, rows, row)
    }

    async fn check(&self, target: &Target) -> Result<AccountId> {
        Object::of(target)?;
        let response = self.0.api.account_region().await?;
        let answer: Option<RegionAnswer<'_>> = read(response.body());
        let told = answer.as_ref().and_then(|answer| {
            let region = answer.region.as_str().filter(|region| matches!(*region, "us" | "eu"))?;
            let workspace = answer.environment_id.as_str()?;
            let is_number = !workspace.is_empty() && workspace.bytes().all(|b| b.is_ascii_digit());
            is_number.then_some((region, workspace))
        });
        let Some((region, workspace)) = told else {
            return Err(response.not_understood("the answer names no region and workspace"));
        };
        let configured = self.0.api.region().as_str();
        if region != configured {
            return Err(Error::new(Kind::InvalidConfig, "check the region", "the account is in another region")
                .with_context("region", configured)
                .with_context("account_region", region)
                .with_remedy(format!("set the region to {region}")));
        }
        Ok(AccountId::new(format!("{region}/{workspace}")))
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        let object = Object::of(target)?;
        Ok(remote_schema(self.0.policy, object, Identifier::of_target(target).ok()))
    }

    async fn lookup(&self, _: &Context, _: LookupRequest) -> Result<Found> {
        Err(unsupported("read people", "the Track API cannot read"))
    }

    async fn write(&self, _: &Context, batch: WriteBatch) -> Result<Receipt> {
        self.check_batch(&batch)?;
        let object = Object::of(&batch.target)?;
        let Encoded { body, sent, refused } = match object {
            Object::Segment(_) => segment::encode(&batch)?,
            _ => encode(self.0.policy, &batch)?,
        };
        let mut outcomes = vec![RowOutcome::Unknown; batch.len()];
        for (row, outcome) in refused {
            outcomes[row] = outcome;
        }
        if sent.is_empty() {
            return Ok(Receipt::Settled(outcomes));
        }
        let schema = batch.rows.schema();
        let field_of = |name: &str| schema.field_with_name(name).ok().map(|field| FieldName::new(field.name()));
        let response = match object {
            Object::Segment(id) => {
                let id_type = Identifier::of_target(&batch.target)?.name();
                let adds = batch.operation == Operation::AddMember;
                self.0.api.segment(id, id_type, adds, body).await?
            }
            _ => self.0.api.batch(body, &field_of).await?,
        };
        let decoded = decode(response.status(), response.body(), sent.len(), &field_of)
            .map_err(|why| response.not_understood(why.message()))?;
        for (row, outcome) in sent.into_iter().zip(decoded) {
            outcomes[row] = outcome;
        }
        Ok(Receipt::Settled(outcomes))
    }

    async fn resume(&self, _: &Context, _: &WriteBatch, _: JobToken) -> Result<Receipt> {
        Err(Error::new(Kind::NotFound, "resume a job", "this destination has no jobs"))
    }
}

fn unsupported(operation: &'static str, message: &'static str) -> Error {
    Error::new(Kind::Unsupported, operation, message)
}

impl fmt::Debug for CustomerIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomerIo")
            .field("api", &self.0.api)
            .field("rate", &self.0.rate)
            .field("max_in_flight", &self.0.max_in_flight)
            .field("max_rows", &self.0.max_rows)
            .field("policy", &self.0.policy)
            .finish_non_exhaustive()
    }
}
