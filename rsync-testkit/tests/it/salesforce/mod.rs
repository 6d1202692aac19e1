//! The Salesforce simulator over HTTP.
