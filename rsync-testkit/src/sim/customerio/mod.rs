//! A strict local Customer.io.
