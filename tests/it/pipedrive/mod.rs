//! The wire to Pipedrive and what is built on it: answers and their classes, the limiter, HTTP, finding, metadata, reconciliation.

mod answers;
mod budget;
mod calls;
mod find;
mod http;
mod limiter;
mod metadata;
mod mocked;
mod reconcile;
mod scripted;
