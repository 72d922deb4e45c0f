//! The wire to Pipedrive: requests, answers, the limiter, and how errors are classed.
//!
//! Invariants: the API token travels in the `x-api-token` header only and is never logged; no redirect is followed; no
//! endpoint is used that Pipedrive has retired; every request that is sent is charged and recorded in the [`Trace`] of the
//! attempt that caused it.

mod caller;
mod classify;
mod client;
mod cost;
mod entity;
mod error;
mod http;
mod kind;
mod limiter;
mod observe;
mod purse;
mod session;
mod trace;
mod transport;
mod webhooks;

pub use caller::Caller;
pub use client::{Client, ClientOptions, ClientStatus};
pub use cost::{is_search, tokens};
pub use entity::{Entity, is_deleted};
pub use error::{ApiError, ErrorKind};
pub(crate) use http::plain_client;
pub use http::{HttpTransport, HttpTransportError, MAX_BODY, base_url};
pub use kind::{Id, Kind, ParseIdError};
pub use limiter::PauseReason;
pub use observe::{MadeUp, NOT_SENT, awaited_id, is_made_up};
pub use purse::{Purse, Saving, Withheld};
pub use session::{BATCH_FROM, Conversion, ConversionState, IDS, NextPage, PAGE, SearchField, SearchHit, Session};
pub use trace::{Exchange, Purpose, Trace};
pub use transport::{Answer, Body, Method, Request, Transport, TransportError};
pub use webhooks::{NewWebhook, Webhook};
