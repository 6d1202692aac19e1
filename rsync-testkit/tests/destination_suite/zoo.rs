//! Adapters with one defect each, all of them seen in the wild.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::TimestampMicrosecondType;
use async_trait::async_trait;
use rsync_core::capability::Operation;
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::destination::{Context, Found, LookupRequest, RemoteSchema, Target, WriteBatch};
use rsync_core::ids::{AccountId, JobToken, RemoteId, Token};
use rsync_core::memory::MemoryDestination;
use rsync_core::outcome::{Effect, Receipt, RowOutcome};
use rsync_core::record::{Cell, Rows, Value};
use rsync_core::{Capability, Destination, Result, Retry};

macro_rules! zoo {
    ($($defect:ident $number:literal $case:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Defect {
            $($defect),+
        }

        impl Defect {
            pub(crate) const ALL: [Defect; [$(Defect::$defect),+].len()] = [$(Defect::$defect),+];

            /// Number and part of the name of the case that it must fail.
            pub(crate) fn fails(self) -> (&'static str, &'static str) {
                match self {
                    $(Defect::$defect => ($number, $case)),+
                }
            }
        }
    };
}

zoo! {
    DropsLastOutcome "D1" "in the order";
    ShiftsOutcomes "D1" "in the order";
    DropsLastRow "D1" "in the order";
    IgnoresSlices "D1" "a slice";
    TakesTooManyRows "D11" "one row more";
    CapabilityVaries "D8" "stays the same";
    MissesIsCreated "-" "update changes";
    RepeatsGrow "D3" "twice";
    MixesUpIds "-" "update by record id";
    SparesRecordsById "-" "delete by record id";
    TreatsAbsentAsClear "-" "absent field";
    WritesAbsentCells "-" "absent field";
    TakesFirstRowsFields "-" "first row";
    OverwritesAlways "-" "policies that it declares";
    DoublesQuotes "-" "to the letter";
    CutsToMilliseconds "-" "days and moments";
    CutsKeysAtSlash "-" "odd keys";
    SaysAllWentWell "D4" "a bad row";
    RefusesNeighbours "D4" "a bad row";
    DropsUnknownFields "-" "unknown field";
    ChecksByWriting "D2" "change nothing";
    TakesErrorsForSuccess "D5" "4xx";
    BacksOffFromUnknownFate "D6" "lost after";
    RejectsUnknownFate "D6" "lost after";
    IgnoresRetryAfter "D7" "delay";
    SleepsOnRetryAfter "D7" "delay";
    RetriesByItself "D6" "5xx";
    KeepsSendingWhenDropped "D9" "dropped";
    ResumeHangs "D12" "unknown job";
    LeaksInError "D10" "said aloud";
    LeaksInSource "D10" "said aloud";
    LeaksInCode "D10" "said aloud";
    LeaksInLog "D10" "said aloud";
    Panics "-" "odd keys";
    MakesTokensUp "D13" "sent twice";
    TakesAKeyForAnEntry "D13" "an entry a row";
    DeletesWhoIsNoMember "D14" "members come and go";
    SparesMembersById "D14" "members by record id";
    MakesMembersUp "D14" "nobody";
}

/// The in-memory destination with at most one defect.
#[derive(Clone, Debug)]
pub(crate) struct Animal {
    inner: MemoryDestination,
    defect: Option<Defect>,
}

impl Animal {
    pub(crate) fn new(inner: MemoryDestination, defect: Option<Defect>) -> Self {
        Self { inner, defect }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// What the defect makes of the rows before they are sent.
    async fn spoil(&self, mut batch: WriteBatch) -> Result<WriteBatch> {
        let key = batch.target.match_on.clone();
        match self.defect {
            Some(Defect::DropsLastRow) if batch.len() > 1 => batch.rows = batch.rows.slice(0, batch.len() - 1),
            Some(Defect::MissesIsCreated) if batch.operation == Operation::Update => {
                batch.operation = Operation::Upsert;
            }
            Some(Defect::MixesUpIds) if batch.operation == Operation::Update => {
                for id in batch.ids.iter_mut().flatten() {
                    *id = RemoteId::new(if id.as_str() == "1" { "2" } else { "1" });
                }
            }
            Some(Defect::MakesTokensUp) => {
                for token in batch.tokens.iter_mut().flatten() {
                    static CALLS: AtomicU64 = AtomicU64::new(0);
                    *token = Token::new(format!("{:x}", CALLS.fetch_add(1, Ordering::Relaxed)));
                }
            }
            Some(Defect::DeletesWhoIsNoMember) if batch.operation == Operation::RemoveMember => {
                batch.operation = Operation::Delete;
            }
            Some(Defect::MakesMembersUp) if batch.operation == Operation::AddMember && batch.ids.is_none() => {
                let mut records = batch.clone();
                records.operation = Operation::Upsert;
                self.inner.write(&Context::new(rsync_core::ids::RunId(1)), records).await?;
            }
            Some(Defect::OverwritesAlways) => batch.policies.clear(),
            Some(Defect::TreatsAbsentAsClear) => batch.rows = mask_absent(&batch.rows, true),
            Some(Defect::WritesAbsentCells) => batch.rows = mask_absent(&batch.rows, false),
            Some(Defect::TakesFirstRowsFields) => batch.rows = mask_by_first_row(&batch.rows),
            Some(Defect::DoublesQuotes) => {
                batch.rows = map_texts(&batch.rows, "name", |text| text.replace('"', "\"\""))
            }
            Some(Defect::CutsToMilliseconds) => batch.rows = cut_moments(&batch.rows),
            Some(Defect::CutsKeysAtSlash) => {
                batch.rows =
                    map_texts(&batch.rows, key.as_str(), |text| text.split('/').next().unwrap_or("").to_owned());
            }
            Some(Defect::RepeatsGrow) => {
                if let Some(old) = self.inner.records(&batch.target.object).into_keys().next() {
                    self.inner.insert(&batch.target, &format!("{old} again"), []);
                }
            }
            Some(Defect::DropsUnknownFields) => {
                let known = self.inner.describe(&batch.target).await?;
                let schema = Arc::clone(batch.rows.schema());
                let kept: Vec<usize> =
                    (0..schema.fields().len()).filter(|i| known.field(schema.field(*i).name()).is_some()).collect();
                let presence: Vec<_> = kept.iter().map(|i| batch.rows.presence(*i).cloned()).collect();
                let mut rows = Rows::new(batch.rows.batch().project(&kept).expect("indices are in range"))?;
                for (index, present) in presence.into_iter().enumerate() {
                    if let Some(present) = present {
                        rows = rows.with_presence(index, present);
                    }
                }
                batch.rows = rows;
            }
            _ => {}
        }
        Ok(batch)
    }

    /// What the defect makes of the answer.
    async fn misreport(&self, batch: &WriteBatch, answer: Result<Receipt>) -> Result<Receipt> {
        match (self.defect, answer) {
            (Some(defect), Ok(Receipt::Settled(mut outcomes))) => {
                match defect {
                    Defect::DropsLastOutcome if outcomes.len() > 1 => {
                        outcomes.pop();
                    }
                    Defect::DropsLastRow => outcomes.resize(batch.len(), RowOutcome::written(Effect::Created, None)),
                    Defect::ShiftsOutcomes if !outcomes.is_empty() => outcomes.rotate_right(1),
                    Defect::SaysAllWentWell => outcomes.fill(RowOutcome::written(Effect::Updated, None)),
                    Defect::RefusesNeighbours => {
                        if let Some(refusal) = outcomes.iter().find(|o| matches!(o, RowOutcome::Rejected { .. })) {
                            let refusal = refusal.clone();
                            outcomes.fill(refusal);
                        }
                    }
                    Defect::LeaksInCode => {
                        for (row, outcome) in outcomes.iter_mut().enumerate() {
                            if let RowOutcome::Rejected { code, .. } = outcome {
                                *code = format!("INVALID: {}", first_text(batch, row));
                            }
                        }
                    }
                    _ => {}
                }
                Ok(Receipt::Settled(outcomes))
            }
            (Some(defect), Err(error)) => match (defect, error.retry()) {
                (Defect::TakesErrorsForSuccess, _) => {
                    Ok(Receipt::Settled(vec![RowOutcome::written(Effect::Updated, None); batch.len()]))
                }
                (Defect::BacksOffFromUnknownFate, Retry::Ambiguous) => Err(error.with_retry(Retry::Backoff)),
                (Defect::RejectsUnknownFate, Retry::Ambiguous) => {
                    Ok(Receipt::Settled(vec![RowOutcome::rejected("FAILED", None, ""); batch.len()]))
                }
                (Defect::IgnoresRetryAfter, Retry::After(_)) => Err(error.with_retry(Retry::Backoff)),
                (Defect::SleepsOnRetryAfter, Retry::After(delay)) => {
                    SystemClock::new().sleep(delay).await;
                    Err(error)
                }
                (Defect::RetriesByItself, Retry::Ambiguous) => {
                    self.inner.write(&Context::new(rsync_core::ids::RunId(1)), batch.clone()).await
                }
                (Defect::LeaksInError, Retry::Never) => Err(error.with_context("row", first_text(batch, 0))),
                (Defect::LeaksInSource, Retry::Never) => Err(error.with_source(first_text(batch, 0))),
                _ => Err(error),
            },
            (_, answer) => answer,
        }
    }
}

fn first_text(batch: &WriteBatch, row: usize) -> String {
    let texts = batch.rows.cells(row.min(batch.len() - 1)).filter_map(|(_, cell)| match cell {
        Cell::Set(Value::Text(text)) => Some(text.to_owned()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn rebuild(rows: &Rows, column: usize, array: ArrayRef) -> Rows {
    let mut columns = rows.batch().columns().to_vec();
    columns[column] = array;
    let batch = RecordBatch::try_new(Arc::clone(rows.schema()), columns).expect("the types did not change");
    let mut rebuilt = Rows::new(batch).expect("the types did not change");
    for index in 0..rows.schema().fields().len() {
        if let Some(present) = rows.presence(index) {
            rebuilt = rebuilt.with_presence(index, present.clone());
        }
    }
    rebuilt
}

fn map_texts(rows: &Rows, column: &str, change: impl Fn(&str) -> String) -> Rows {
    let Ok(index) = rows.schema().index_of(column) else { return rows.clone() };
    let texts: StringArray =
        rows.batch().column(index).as_string::<i32>().iter().map(|text| text.map(&change)).collect();
    rebuild(rows, index, Arc::new(texts))
}

fn cut_moments(rows: &Rows) -> Rows {
    let Ok(index) = rows.schema().index_of("moment") else { return rows.clone() };
    let moments = rows.batch().column(index).as_primitive::<TimestampMicrosecondType>();
    let cut: TimestampMicrosecondArray = moments.unary(|micros| micros.div_euclid(1000) * 1000);
    rebuild(rows, index, Arc::new(cut.with_timezone("UTC")))
}

/// Makes absent cells present, as nulls or with what lies under them.
fn mask_absent(rows: &Rows, as_null: bool) -> Rows {
    let mut columns = rows.batch().columns().to_vec();
    for (index, column) in columns.iter_mut().enumerate() {
        if let Some(present) = rows.presence(index).filter(|_| as_null) {
            let absent: arrow::array::BooleanArray = present.iter().map(|present| Some(!present)).collect();
            *column = arrow::compute::nullif(column, &absent).expect("the mask has the column's length");
        }
    }
    let batch = RecordBatch::try_new(Arc::clone(rows.schema()), columns).expect("the types did not change");
    Rows::new(batch).expect("the types did not change")
}

/// What a CSV writer does that takes its columns from the first record.
fn mask_by_first_row(rows: &Rows) -> Rows {
    let mut masked = rows.clone();
    for (index, (_, cell)) in rows.cells(0).enumerate() {
        if cell == Cell::Absent {
            masked = masked.with_presence(index, BooleanBuffer::new_unset(rows.len()));
        }
    }
    masked
}

#[async_trait]
impl Destination for Animal {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn capability(&self, target: &Target) -> Capability {
        let mut capability = self.inner.capability(target);
        if self.has(Defect::CapabilityVaries) {
            capability.max_in_flight += self.inner.writes().len();
        }
        capability
    }

    fn row_bytes(&self, target: &Target, operation: Operation, rows: &Rows, row: usize) -> usize {
        self.inner.row_bytes(target, operation, rows, row)
    }

    async fn check(&self, target: &Target) -> Result<AccountId> {
        if self.has(Defect::ChecksByWriting) {
            let probe = RecordBatch::try_from_iter([(
                target.match_on.as_str(),
                Arc::new(StringArray::from(vec!["probe"])) as ArrayRef,
            )]);
            let rows = Rows::new(probe.expect("one column"))?;
            let batch = WriteBatch::new(rsync_core::ids::BatchId(0), Operation::Upsert, target.clone(), rows)?;
            self.inner.write(&Context::new(rsync_core::ids::RunId(1)), batch).await?;
        }
        self.inner.check(target).await
    }

    async fn describe(&self, target: &Target) -> Result<RemoteSchema> {
        self.inner.describe(target).await
    }

    async fn lookup(&self, cx: &Context, request: LookupRequest) -> Result<Found> {
        self.inner.lookup(cx, request).await
    }

    async fn write(&self, cx: &Context, batch: WriteBatch) -> Result<Receipt> {
        let mut key = String::new();
        if self.has(Defect::Panics) && !batch.is_empty() {
            batch.key_text(0, &mut key)?;
            assert!(!key.contains('漢'), "not a character that this adapter likes");
        }
        if self.has(Defect::LeaksInLog) && !batch.is_empty() {
            tracing::trace!(row = first_text(&batch, 0), "sending");
        }
        if self.has(Defect::KeepsSendingWhenDropped) {
            let (inner, again) = (self.inner.clone(), batch.clone());
            let task = tokio::spawn(async move {
                loop {
                    SystemClock::new().sleep(std::time::Duration::from_millis(100)).await;
                    let _ = inner.write(&Context::new(rsync_core::ids::RunId(1)), again.clone()).await;
                }
            });
            // Somewhere to be dropped at: the task lives on.
            tokio::task::yield_now().await;
            task.abort();
        }
        let limit = self.inner.capability(&batch.target).limits(batch.operation).map_or(0, |limits| limits.max_rows);
        if self.has(Defect::TakesTooManyRows) && batch.len() > limit && limit > 0 {
            let rest = WriteBatch::new(batch.id, batch.operation, batch.target.clone(), batch.rows.slice(0, limit))?;
            self.inner.write(cx, rest).await?;
            return Ok(Receipt::Settled(vec![RowOutcome::written(Effect::Created, None); batch.len()]));
        }
        if self.has(Defect::IgnoresSlices) && batch.len() == 3 {
            // Reads the first rows of the buffer instead of those of the slice.
            let keys = batch.rows.column_of(batch.target.match_on.as_str()).map(|column| column.cell(0));
            if let Some(Cell::Set(Value::Text(key))) = keys
                && key.ends_with('3')
            {
                return Ok(Receipt::Settled(vec![RowOutcome::written(Effect::Created, None); 3]));
            }
        }
        if self.has(Defect::SparesRecordsById) && batch.operation == Operation::Delete && batch.ids.is_some() {
            return Ok(Receipt::Settled(vec![RowOutcome::Missing; batch.len()]));
        }
        if self.has(Defect::SparesMembersById) && batch.operation == Operation::RemoveMember && batch.ids.is_some() {
            return Ok(Receipt::Settled(vec![RowOutcome::Missing; batch.len()]));
        }
        if self.has(Defect::TakesAKeyForAnEntry)
            && batch.operation == Operation::Append
            && self.inner.entries(&batch.target.object).len() >= batch.len()
        {
            return Ok(Receipt::Settled(vec![RowOutcome::Exists; batch.len()]));
        }
        let sent = self.spoil(batch.clone()).await?;
        let answer = self.inner.write(cx, sent).await;
        self.misreport(&batch, answer).await
    }

    async fn resume(&self, cx: &Context, batch: &WriteBatch, job: JobToken) -> Result<Receipt> {
        if self.has(Defect::ResumeHangs) {
            return std::future::pending().await;
        }
        self.inner.resume(cx, batch, job).await
    }
}
