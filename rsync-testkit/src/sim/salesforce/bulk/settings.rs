//! How long jobs take, how much they may do, and how they go wrong.

use serde::{Deserialize, Serialize};

/// Times and limits of bulk jobs. The limits are the documented ones; the times are short, so that a client on the
/// wall clock need not wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BulkSettings {
    /// Milliseconds from closing a job to its first rows.
    pub queue_ms: u64,
    /// Milliseconds for 200 rows.
    pub chunk_ms: u64,
    /// Milliseconds that each further attempt at a batch takes.
    pub retry_ms: u64,
    /// Attempts at a batch after the first one, beyond which the job fails.
    pub most_retries: u32,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Batches in any 24 hours.
    pub daily_batches: u64,
    /// Rows in any 24 hours.
    pub daily_rows: u64,
    /// Bytes of one upload.
    pub most_bytes: usize,
    /// Columns of a file.
    pub most_columns: usize,
    /// Characters of a value.
    pub most_cell_characters: usize,
    /// Characters of a row.
    pub most_row_characters: usize,
    /// Seconds after which a finished job and its results are gone.
    pub kept_seconds: u64,
    /// Jobs on a page of the list of jobs.
    pub jobs_per_page: usize,
    /// Rows on a page of a result; all of them on one page when absent.
    pub result_page_rows: Option<usize>,
    /// Whether the user may delete records for good.
    pub hard_delete: bool,
}

impl Default for BulkSettings {
    fn default() -> Self {
        Self {
            queue_ms: 200,
            chunk_ms: 5,
            retry_ms: 1_000,
            most_retries: 20,
            batch_rows: 10_000,
            daily_batches: 15_000,
            daily_rows: 150_000_000,
            most_bytes: 100_000_000,
            most_columns: 5_000,
            most_cell_characters: 32_000,
            most_row_characters: 400_000,
            kept_seconds: 7 * 86_400,
            jobs_per_page: 1_000,
            result_page_rows: None,
            hard_delete: false,
        }
    }
}

impl BulkSettings {
    /// What cannot work, with the paths of the fields.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        for (name, value) in [
            ("batch_rows", self.batch_rows),
            ("jobs_per_page", self.jobs_per_page),
            ("result_page_rows", self.result_page_rows.unwrap_or(1)),
        ] {
            if value == 0 {
                problems.push(format!("bulk.{name}: 0 would never get anywhere; use 1 or more"));
            }
        }
    }
}

/// A job that goes wrong. A fault takes hold of a job when it is closed.
///
/// ```
/// use rsync_testkit::sim::salesforce::{JobFault, JobTrouble, SalesforceSim};
///
/// // The next job of contacts fails after 350 rows; the others end up in `unprocessedrecords`.
/// let trouble = JobTrouble::Fails { after_rows: 350, message: "InternalServerError".to_owned() };
/// let builder = SalesforceSim::builder().with_job_fault(JobFault::new(trouble).of("Contact").times(1));
/// # drop(builder);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFault {
    /// Object whose jobs go wrong; any when absent.
    #[serde(default)]
    pub object: Option<String>,
    /// How many jobs go wrong before the fault is over; all of them when absent.
    #[serde(default)]
    pub times: Option<u64>,
    /// What happens.
    pub trouble: JobTrouble,
}

/// What happens to a job. Rows that were done stay done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum JobTrouble {
    /// It fails as a whole; the other rows stay unprocessed.
    Fails {
        /// Rows done before.
        after_rows: usize,
        /// `errorMessage` of the job.
        message: String,
    },
    /// Somebody else aborts it.
    Aborted {
        /// Rows done before.
        after_rows: usize,
    },
    /// It never gets further.
    Stuck {
        /// Rows done before.
        after_rows: usize,
    },
    /// It begins later.
    Delayed {
        /// Milliseconds beside those in the queue.
        delay_ms: u64,
    },
    /// One of its batches needs further attempts. With more than [`BulkSettings::most_retries`] the job fails there.
    Retried {
        /// Position of the batch, from 0.
        batch: usize,
        /// Attempts after the first one.
        retries: u32,
    },
}

impl JobFault {
    /// Every job, until the fault is narrowed.
    pub fn new(trouble: JobTrouble) -> Self {
        Self { object: None, times: None, trouble }
    }

    /// Only jobs of this object.
    #[must_use]
    pub fn of(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Only this many jobs.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}
