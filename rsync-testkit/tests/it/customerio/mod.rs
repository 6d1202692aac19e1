//! The Customer.io simulator over HTTP.
