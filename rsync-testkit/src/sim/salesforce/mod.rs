//! A strict local Salesforce.
