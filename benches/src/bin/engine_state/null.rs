//! A destination that takes everything at once and keeps nothing.

use async_trait::async_trait;
use rsync_core::capability::{Capability, Operation, OperationLimits, WriteIdempotence};
use rsync_core::destination::{
    Context, Destination, Found, LookupRequest, RemoteField, RemoteSchema, Target, WriteBatch,
};
use rsync_core::ids::{AccountId, JobToken};
use rsync_core::outcome::{Effect, Receipt, RowOutcome};
use rsync_core::record::Rows;
use rsync_core::{Error, Kind, Result};

/// See the module.
#[derive(Debug)]
pub(crate) struct NullDestination {
    fields: &'static [&'static str],
    max_in_flight: usize,
}

/// Rows a call, as common services allow.
pub(crate) const CALL_ROWS: usize = 100;

impl NullDestination {
    pub(crate) fn new(fields: &'static [&'static str], max_in_flight: usize) -> Self {
        Self { fields, max_in_flight }
    }
}

#[async_trait]
impl Destination for NullDestination {
    fn kind(&self) -> &'static str {
        "null"
    }

    fn capability(&self, _target: &Target) -> Capability {
        Capability::new()
            .with_operation(Operation::Upsert, OperationLimits::new(CALL_ROWS, WriteIdempotence::ByKey))
            .with_clears_fields()
            .with_keeps_absent_fields()
            .with_per_row_outcomes()
            .with_max_in_flight(self.max_in_flight)
    }

    fn row_bytes(&self, _target: &Target, _operation: Operation, _rows: &Rows, _row: usize) -> usize {
        0
    }

    async fn check(&self, _target: &Target) -> Result<AccountId> {
        Ok(AccountId::new("nobody"))
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        let field = |name: &&str| {
            let mut field = RemoteField::new(*name, "any");
            field.unique = *name == target.match_on.as_str();
            field
        };
        Ok(RemoteSchema::new(self.fields.iter().map(field).collect()))
    }

    async fn lookup(&self, _cx: &Context, _request: LookupRequest) -> Result<Found> {
        Err(Error::new(Kind::Unsupported, "look records up", "nothing is kept here"))
    }

    async fn write(&self, _cx: &Context, batch: WriteBatch) -> Result<Receipt> {
        Ok(Receipt::Settled(vec![RowOutcome::written(Effect::Unspecified, None); batch.len()]))
    }

    async fn resume(&self, _cx: &Context, _batch: &WriteBatch, _job: JobToken) -> Result<Receipt> {
        Err(Error::new(Kind::NotFound, "ask after a job", "there are no jobs here"))
    }
}
