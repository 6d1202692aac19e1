//! The in-memory destination as service and adapter in one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rsync_core::destination::{AcceptedType, KeyFolding, RemoteField, RemoteSchema, Target};
use rsync_core::memory::{Fault, MemoryDestination};
use rsync_core::{Capability, Destination, Error, FieldPolicy, Kind, Retry};
use rsync_testkit::destination::{
    Harness, HarnessResult, Record, RequestCounts, RequestKind, SampleFields, ServiceFault, ServiceFaults,
};

use crate::zoo::{Animal, Defect};

/// What the harness sees of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Truth,
    Nothing,
    Anything,
    Errors,
}

pub(crate) struct MemoryHarness {
    service: MemoryDestination,
    defect: Option<Defect>,
    folding: KeyFolding,
    sight: Sight,
    faults: Faults,
    targets: AtomicU64,
}

/// The fault in force, the requests it still concerns, and how often it happened.
#[derive(Clone, Default)]
struct Faults(Arc<Mutex<(Option<ServiceFault>, u64, u64)>>);

impl MemoryHarness {
    pub(crate) fn new(defect: Option<Defect>) -> Self {
        let faults = Faults::default();
        let script = faults.clone();
        let service = MemoryDestination::new()
            .with_invalid_value("stage", "purpleish", "NO_SUCH_STAGE")
            .with_faults(move |_, _| script.next());
        Self { service, defect, folding: KeyFolding::Exact, sight: Sight::Truth, faults, targets: AtomicU64::new(0) }
    }

    pub(crate) fn with_capability(mut self, capability: Capability) -> Self {
        self.service = self.service.with_capability(capability);
        self
    }

    pub(crate) fn with_folded_keys(mut self) -> Self {
        self.folding = KeyFolding::CaselessTrimmed;
        self
    }

    pub(crate) fn with_jobs(mut self) -> Self {
        self.service = self.service.with_jobs(2);
        self
    }

    pub(crate) fn with_sight(mut self, sight: Sight) -> Self {
        self.sight = sight;
        self
    }
}

#[async_trait]
impl Harness for MemoryHarness {
    async fn fresh_target(&self) -> HarnessResult<Target> {
        let target = Target::new(format!("object{}", self.targets.fetch_add(1, Ordering::Relaxed)), "id");
        let field = |name: &str, accepts: &[AcceptedType]| {
            let mut field = RemoteField::new(name, name);
            field.accepts = accepts.to_vec();
            field
        };
        let mut key = field("id", &[AcceptedType::Text]);
        (key.unique, key.folding) = (true, self.folding);
        let mut read_only = field("created", &[]);
        read_only.writable = false;
        let schema = RemoteSchema::new(vec![
            key,
            read_only,
            field("name", &[AcceptedType::Text]).with_native([FieldPolicy::SetIfEmpty]),
            field("stage", &[AcceptedType::Text]),
            field("count", &[AcceptedType::Integer]).with_native([FieldPolicy::Max, FieldPolicy::Min]),
            field("ratio", &[AcceptedType::Float]),
            field("price", &[AcceptedType::Decimal]),
            field("active", &[AcceptedType::Boolean]),
            field("day", &[AcceptedType::Date]),
            field("moment", &[AcceptedType::Timestamp]),
            field("tags", &[AcceptedType::TextList]).with_native([FieldPolicy::SetUnion]),
        ]);
        self.service.create_object(target.object.clone(), schema);
        Ok(target)
    }

    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(Animal::new(self.service.clone(), self.defect))
    }

    async fn read_back(&self, target: &Target, key: &str) -> HarnessResult<Option<Record>> {
        match self.sight {
            Sight::Truth => Ok(self.service.record(target, key)),
            Sight::Nothing => Ok(None),
            Sight::Anything => Ok(Some(Record::new())),
            Sight::Errors => Err("records cannot be read".into()),
        }
    }

    async fn list(&self, target: &Target) -> HarnessResult<Vec<String>> {
        Ok(self.service.records(&target.object).into_keys().collect())
    }

    async fn entries(&self, target: &Target) -> HarnessResult<Vec<Record>> {
        Ok(self.service.entries(&target.object))
    }

    async fn members(&self, target: &Target) -> HarnessResult<Vec<String>> {
        Ok(self.service.members(&target.object).into_iter().collect())
    }

    async fn requests(&self) -> HarnessResult<RequestCounts> {
        Ok(RequestCounts { writing: self.service.writes().len() as u64, reading: self.service.reads() })
    }

    fn fields(&self) -> SampleFields {
        let mut fields = SampleFields::new("name");
        fields.integer = Some("count".into());
        fields.float = Some("ratio".into());
        fields.decimal = Some("price".into());
        fields.boolean = Some("active".into());
        fields.date = Some("day".into());
        fields.timestamp = Some("moment".into());
        fields.text_list = Some(("tags".into(), vec!["red".into(), "blue".into()]));
        fields.invalid = Some(("stage".into(), "purpleish".into()));
        fields.read_only = Some("created".into());
        fields
    }

    fn faults(&self) -> Option<&dyn ServiceFaults> {
        Some(&self.faults)
    }
}

impl Faults {
    /// What goes wrong with the next write, in the words of an adapter without defects.
    fn next(&self) -> Option<Fault> {
        let mut state = self.0.lock().expect("no test panics while it holds this lock");
        let (fault, left, fired) = &mut *state;
        let fault = fault.as_ref().filter(|_| *left > 0)?;
        *left -= 1;
        *fired += 1;
        let error = |kind, retry| Error::new(kind, "write", "the service fails").with_retry(retry);
        Some(match fault {
            ServiceFault::Refuse { status, retry_after } => {
                let paused = retry_after.map_or(Retry::Backoff, |s| Retry::After(Duration::from_secs(s)));
                Fault::FailBefore(match status {
                    401 => error(Kind::Unauthenticated, Retry::Never),
                    403 => error(Kind::Forbidden, Retry::Never),
                    429 => error(Kind::RateLimited, paused),
                    503 => error(Kind::Unavailable, paused),
                    500.. => error(Kind::Unavailable, Retry::Ambiguous),
                    _ => error(Kind::Rejected, Retry::Never),
                })
            }
            ServiceFault::ResetBefore => Fault::FailBefore(error(Kind::Unavailable, Retry::Ambiguous)),
            ServiceFault::Redirect => Fault::FailBefore(error(Kind::Protocol, Retry::Never)),
            ServiceFault::ResetAfter => Fault::FailAfter(error(Kind::Unavailable, Retry::Ambiguous)),
            _ => Fault::FailAfter(error(Kind::Protocol, Retry::Ambiguous)),
        })
    }
}

#[async_trait]
impl ServiceFaults for Faults {
    async fn arm(&self, fault: &ServiceFault, on: RequestKind, times: u64) -> HarnessResult<bool> {
        let offered =
            on == RequestKind::Writing && !matches!(fault, ServiceFault::MissingOutcome | ServiceFault::Late(_));
        if offered {
            *self.0.lock().expect("no test panics while it holds this lock") = (Some(fault.clone()), times, 0);
        }
        Ok(offered)
    }

    async fn fired(&self) -> HarnessResult<u64> {
        Ok(self.0.lock().expect("no test panics while it holds this lock").2)
    }

    async fn disarm(&self) -> HarnessResult<()> {
        *self.0.lock().expect("no test panics while it holds this lock") = (None, 0, 0);
        Ok(())
    }
}
