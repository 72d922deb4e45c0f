//! The door: Segment's Tracking API and webhooks over HTTP.
//!
//! Invariants:
//! - 200 leaves only after [`Store::append`](crate::store::Store::append) returned. Overload and a failing store answer 429
//!   or 503 with `Retry-After`, never 400 and never 200.
//! - An [`Event`](crate::event::Event) that leaves this module is valid and complete; what is refused is refused with a reason
//!   and, when its sender is known, kept for `events list --rejected`.
//! - Write keys, webhook secrets and values of events never reach a log, a metric or the store's refused events.
//! - A request uses one script set from start to end.

mod decode;
mod ordering;
mod rejection;
mod timestamps;

pub use decode::decode_event;
pub use ordering::ordering_key;
pub use rejection::Rejection;
