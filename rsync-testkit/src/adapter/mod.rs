//! Parts for the own tests of an adapter or a source: rows to send, a server that plays back answers, and what was
//! logged. What every adapter must do is tested by the [suite](crate::destination).

mod data;
mod logs;
mod playback;
mod rows;

pub use data::shared_data;
pub use logs::{logged, record_logs, shown};
pub use playback::{Playback, Played};
pub use rows::{batch, keys, rows, settled, typed_rows, words};
