//! Whether Pipedrive is out of reach, or only this delivery fails.
//!
//! Invariants: what an outage costs is charged to nobody, attempts and time, so a delivery that does nothing but wait for Pipedrive is never given up; what fails
//! while Pipedrive answers others is charged, so that it cannot hold its lane past the policy.

use super::attempt::Attempt;
use super::trouble::{Trouble, Whose};
use crate::failure::FailureClass;
use crate::pipedrive::{Method, Purpose};

/// What the account answers whoever the event is about: 2 tokens.
const NEUTRAL: &str = "/api/v1/users/me";

impl Attempt {
    /// Asks the account something neutral after a failure that looks like the account's. When it answers, the trouble is the delivery's.
    pub(super) async fn is_outage(&self, trouble: &mut Trouble) -> bool {
        if trouble.whose != Whose::Account || !matches!(trouble.class, FailureClass::Transient | FailureClass::UnknownOutcome) {
            return false;
        }
        let Ok(account) = self.account() else { return false };
        let session = self.session(&account);
        if session.raw(Method::Get, NEUTRAL, None, Purpose::Lookup).await.is_err() {
            return true;
        }
        trouble.whose = Whose::Delivery;
        false
    }
}
