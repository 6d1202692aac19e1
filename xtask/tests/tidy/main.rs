//! What reviewers would otherwise have to remember, as tests.
//!
//! Every check is a function from text or metadata to findings, so that each one can be shown to fail.

mod dependencies;
mod finding;
mod layers;
mod manifests;
mod matrix;
mod planted;
mod sources;
mod workspace;
