//! Pipedrive's own webhooks: what people changed there.
//!
//! Invariant: nothing of a body is read before user name and password are proven, since Pipedrive signs nothing.

use super::auth;
use super::refused::{self, Answer, Refused};
use super::request::Request;
use crate::crm::{Heard, Notice};

/// What Pipedrive sent to this account.
pub(super) async fn receive(mut request: Request<'_>, account: &str) -> Result<Answer, Refused> {
    let set = request.keys.set.clone();
    let config = set.config.pipedrive.get(account).and_then(|account| account.webhooks.as_ref()).ok_or(Refused::NoAccount)?;
    let password = set.webhooks.get(account).ok_or(Refused::NoAccount)?;
    if !auth::is_basic(request.headers, &config.user, password) {
        return Err(Refused::Password);
    }
    // A set that has just gone live may name an account that is not made yet: Pipedrive tries again.
    let account = request.ingest.accounts.read().get(account).cloned().ok_or(Refused::Stopping)?;
    let bytes = request.batch_body().await?;
    let notice = Notice::read(&bytes)?;
    match account.webhooks.hear(&account, &notice).await? {
        Heard::Foreign { theirs, ours } => Err(Refused::Foreign { theirs, ours }),
        Heard::Learned | Heard::Own | Heard::Old | Heard::Other => Ok(refused::success()),
    }
}
