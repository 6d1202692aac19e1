//! Bulk API 2.0: jobs that take a file, work through it in their own time, and answer row by row in another order.

mod columns;
mod csv;
mod endpoints;
mod job;
mod multipart;
mod run;
mod settings;

pub(crate) use endpoints::{close, create, info, list, remove, results, upload};
pub use job::BulkJob;
pub(crate) use job::Jobs;
pub(crate) use run::advance;
pub use settings::{BulkSettings, JobFault, JobTrouble};
