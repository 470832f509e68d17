//! Observability for operators: logs, metrics and health.

pub mod listener;
pub mod logs;
pub mod metrics;
