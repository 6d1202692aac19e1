#![doc = include_str!("../README.md")]

mod auth;
mod client;
mod config;
mod failure;
pub mod json;
mod path;
mod request;
mod retry_after;

pub use auth::{AccessToken, Auth, TokenSource};
pub use client::{Client, is_correlation_id};
pub use config::{ClientConfig, Limits, Roots};
pub use path::Path;
pub use request::{Access, Request, Response};
/// The HTTP library underneath, for hosts that bring their own client.
pub use reqwest;
pub use reqwest::Method;
pub use reqwest::header;
pub use retry_after::MAX_RETRY_AFTER;
