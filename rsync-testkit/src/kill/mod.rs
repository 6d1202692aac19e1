//! Whole runs in a process that is killed again and again, over a real state store.
//!
//! The program starts itself as a child that runs one sync over the store under test. The service and the truth are in
//! the parent, which survives: it kills the child as `kill -9` does, at a call before or after it is applied, behind an
//! answer, or at a random moment, changes the model and starts the next child. After every few kills one run is left
//! alone, and the service must then hold what the model says, record by record.
//!
//! What must be true: every child finds its state; no row is lost or written under another key; a row that the service
//! has already is sent again only if its batch was in the air at a kill; no value is left on the disk of a killed child,
//! and no secret in its command line.
//!
//! | Module | What it holds |
//! | --- | --- |
//! | `model` | the model at every moment of its history, the same in both processes |
//! | `service` | the service and the truth, and the moments of the kills |
//! | `child` | the process that is killed |
//! | `disk` | the search of what a killed process leaves behind |
//! | `run` | the parent |
//! | `freeze` | processes that are frozen past their lease |

mod child;
mod disk;
mod freeze;
mod model;
mod run;
mod service;

pub use freeze::main_frozen;
pub use run::main;
