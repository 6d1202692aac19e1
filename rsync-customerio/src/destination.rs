//! The destination.

use std::fmt;
use std::sync::Arc;

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
use crate::person::{Identifier, check_object};
use crate::policy::Policy;
use crate::schema::{check_columns, remote_schema};
use crate::wire::RegionAnswer;

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

    pub(crate) fn new(client: Client, config: &CustomerIoConfig) -> Self {
        Self(Arc::new(Inner {
            api: Api::new(client, config.region),
            rate: config.rate,
            max_in_flight: config.max_in_flight,
            max_rows: config.max_rows,
            policy: Policy { empty_text: config.empty_text, allow_resubscribe: config.allow_resubscribe },
        }))
    }

    fn check_batch(&self, batch: &WriteBatch) -> Result<()> {
        let key = Identifier::of_target(&batch.target)?;
        if batch.operation != Operation::Upsert {
            return Err(unsupported("write a batch", "the service can only create or update people in one call")
                .with_context("operation", batch.operation.as_str())
                .with_remedy("choose an operation that the capability of the target lists"));
        }
        if batch.len() > self.0.max_rows {
            return Err(Error::new(Kind::Internal, "write a batch", "the batch is larger than the declared limit")
                .with_context("rows", batch.len())
                .with_context("limit", self.0.max_rows));
        }
        check_columns(self.0.policy, key, batch.rows.schema())
    }
}

#[async_trait]
impl Destination for CustomerIo {
    fn kind(&self) -> &'static str {
        "customerio"
    }

    fn capability(&self, _: &Target) -> Capability {
        let upsert = OperationLimits::new(self.0.max_rows, WriteIdempotence::ByKey).with_max_bytes(ROWS_BYTES_MAX);
        let capability = Capability::new()
            .with_operation(Operation::Upsert, upsert)
            .with_clears_fields()
            .with_keeps_absent_fields()
            .with_per_row_outcomes()
            .with_max_in_flight(self.0.max_in_flight);
        match self.0.rate.rate() {
            Some(rate) => capability.with_rate(rate),
            None => capability,
        }
    }

    fn row_bytes(&self, target: &Target, _: Operation, rows: &Rows, row: usize) -> usize {
        row_bytes(self.0.policy, target, rows, row)
    }

    async fn check(&self, target: &Target) -> Result<AccountId> {
        check_object(target)?;
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
        check_object(target)?;
        Ok(remote_schema(self.0.policy, Identifier::of_target(target).ok()))
    }

    async fn lookup(&self, _: &Context, _: LookupRequest) -> Result<Found> {
        Err(unsupported("read people", "the Track API cannot read"))
    }

    async fn write(&self, _: &Context, batch: WriteBatch) -> Result<Receipt> {
        self.check_batch(&batch)?;
        let Encoded { body, sent, refused } = encode(self.0.policy, &batch)?;
        let mut outcomes = vec![RowOutcome::Unknown; batch.len()];
        for (row, outcome) in refused {
            outcomes[row] = outcome;
        }
        if sent.is_empty() {
            return Ok(Receipt::Settled(outcomes));
        }
        let schema = batch.rows.schema();
        let field_of = |name: &str| schema.field_with_name(name).ok().map(|field| FieldName::new(field.name()));
        let response = self.0.api.batch(body, &field_of).await?;
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
