//! The wire to Pipedrive: requests, answers, the limiter, and how errors are classed.
//!
//! Invariants: the API token travels in the `x-api-token` header only and is never logged; no redirect is followed; no
//! endpoint is used that Pipedrive has retired; every request that is sent is charged and recorded in the [`Trace`] of the
//! attempt that caused it.

mod error;
mod kind;
mod trace;
mod transport;

pub use error::{ApiError, ErrorKind};
pub use kind::{Id, Kind, ParseIdError};
pub use trace::{Exchange, Purpose, Trace};
pub use transport::{Answer, Body, Method, Request, Transport, TransportError};
