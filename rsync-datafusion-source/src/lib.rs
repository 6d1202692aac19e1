#![doc = include_str!("../README.md")]

mod builder;
mod csv;
mod failure;
mod files;
mod source;
mod table;

pub use builder::Builder;
pub use csv::Csv;
// A host that builds its own context must use this very version.
pub use datafusion;
pub use source::DataFusionSource;
