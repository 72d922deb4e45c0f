//! Erasing a user. Whose it is and how far it has come go back and forth with each request, so that nothing is kept of it here.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::rejection::JsonRejection;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::State;
use super::problem::Failed;
use crate::delivery::{Counts, Erasure, Person, Progress, Tombstone};
use crate::event::canonical_id;

/// Parts of an erasure that one request carries out.
const PARTS: usize = 10;

/// `POST /api/forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// Whose: a userId.
    pub user: String,
    /// Only what belongs to this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Do it; false: only count.
    #[serde(default)]
    pub erase: bool,
    /// From the answer before, while there is more: whose it was found to be, and how far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub so_far: Option<SoFar>,
}

/// What one request leaves to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoFar {
    /// The ids that their events tie together.
    pub person: Person,
    /// How much is gone.
    pub progress: Progress,
}

/// What was found, or erased so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetAnswer {
    /// The ids whose it is: the one asked for, and those that aliases have joined with it.
    #[serde(default)]
    pub users: BTreeSet<String>,
    /// How much.
    pub counts: Counts,
    /// What the next request is to carry; none: this was all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub so_far: Option<SoFar>,
    /// What remains, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone: Option<Tombstone>,
}

pub(super) async fn forget(
    Extract(state): Extract<State>,
    body: Result<Json<ForgetRequest>, JsonRejection>,
) -> Result<Json<ForgetAnswer>, Failed> {
    let Json(ForgetRequest { user, account, erase, so_far }) = body?;
    let user = canonical_id(&json!(user)).ok_or_else(|| Failed::bad_request("`user` is blank; name a userId"))?;
    if let Some(name) = &account {
        state.account(name)?;
    }
    let SoFar { person, progress } = match so_far {
        Some(so_far) if so_far.person.users.contains(&user) => so_far,
        Some(_) => return Err(Failed::bad_request("`so_far` is of another user")),
        None => SoFar { person: Person::now(&*state.store, &user).await?, progress: Progress::new(Timestamp::now()) },
    };
    let mut erasure = Erasure::new(&*state.store, &state.delivery, &person, account, progress);
    if !erase {
        let counts = erasure.look().await?;
        return Ok(Json(ForgetAnswer { users: person.users, counts, so_far: None, tombstone: None }));
    }
    let tombstone = erasure.advance(PARTS).await?;
    let progress = erasure.progress().clone();
    let counts = progress.counts;
    let users = person.users.clone();
    let so_far = tombstone.is_none().then_some(SoFar { person, progress });
    Ok(Json(ForgetAnswer { users, counts, so_far, tombstone }))
}
