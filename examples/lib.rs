//! Parts that the examples and their tests share.

pub mod churn;
