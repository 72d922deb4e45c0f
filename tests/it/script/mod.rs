//! The script engine at its contract: sources in, reports out.

mod support;

mod closures;
mod decide;
mod definitions;
mod docs;
mod errors;
mod limits;
mod lint;
mod plan;
mod pool;
mod reads;
