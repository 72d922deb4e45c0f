//! From what a request has changed to events.

use serde_json::Value;

use super::body::Event;
use super::shape;
use crate::mock::entity::Entity;
use crate::mock::table::Object;
use crate::mock::world::{ME, World};

/// How a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeSource {
    /// In Pipedrive's own pages.
    App,
    /// Through the API.
    Api,
}

impl ChangeSource {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Api => "api",
        }
    }
}

/// Whose change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// The user's id.
    pub user: u64,
    /// How it was made.
    pub source: ChangeSource,
}

impl Author {
    /// A user at work in Pipedrive's pages.
    #[must_use]
    pub const fn person(user: u64) -> Self {
        Self { user, source: ChangeSource::App }
    }

    /// Another program that has a token of this user.
    #[must_use]
    pub const fn program(user: u64) -> Self {
        Self { user, source: ChangeSource::Api }
    }

    /// The one whose token the mock knows.
    pub(in crate::mock) const fn token() -> Self {
        Self::program(ME)
    }

    /// One of the account's people who is not the token's user, as long as there is one.
    pub(in crate::mock) fn someone_else(world: &World) -> Self {
        let other = world.users.iter().find(|u| u.active && u.id != ME);
        Self::person(other.map_or(ME, |u| u.id))
    }
}

/// What webhooks tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mock) enum Subject {
    Record(Entity, u64),
    Pipeline(u64),
    Stage(u64),
    User(u64),
}

impl Subject {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Record(entity, _) => entity.word(),
            Self::Pipeline(_) => "pipeline",
            Self::Stage(_) => "stage",
            Self::User(_) => "user",
        }
    }
}

/// Notes that a record is about to be changed, made or deleted. Nothing is done where nobody wants to know.
pub(in crate::mock) fn touch(world: &mut World, subject: Subject) {
    if !world.hooks.wants_kind(subject.word()) || world.hooks.touched.iter().any(|(s, _)| *s == subject) {
        return;
    }
    let before = shape::of(world, subject);
    world.hooks.touched.push((subject, before));
}

/// Notes that a request merges two records: the one that goes is told of first, then the one that stays.
pub(in crate::mock) fn merging(world: &mut World, dropped: Subject, kept: Subject) {
    touch(world, dropped);
    touch(world, kept);
    world.hooks.merged = Some((dropped, kept));
}

/// Makes events of what a request has changed and queues them; says whether there is one to send.
pub(in crate::mock) fn commit(world: &mut World, author: Author, now: i64, keep: usize) -> bool {
    let merged = world.hooks.merged.take();
    if world.hooks.touched.is_empty() {
        return false;
    }
    let touched = std::mem::take(&mut world.hooks.touched);
    world.hooks.events += 1;
    // One correlation id for all that a request did.
    let request = world.hooks.events;
    let mut queued = false;
    for (subject, before) in touched {
        let after = shape::of(world, subject);
        let Some((action, data, previous)) = told(before, after) else { continue };
        world.hooks.events += 1;
        let mut event = Event::new(world, subject, action, (world.hooks.events, request), author, now);
        event.data = data;
        event.previous = previous;
        if let Some((dropped, kept)) = merged {
            event.merge(subject, dropped, kept);
        }
        queued |= world.hooks.queue(event, now, keep);
    }
    queued
}

/// Action, `data` and `previous` of a change; nothing where nothing is different.
fn told(before: Option<Object>, after: Option<Object>) -> Option<(&'static str, Value, Value)> {
    match (before, after) {
        (None, None) => None,
        (None, Some(after)) => Some(("create", Value::Object(after), Value::Null)),
        (Some(before), None) => Some(("delete", Value::Null, Value::Object(before))),
        (Some(before), Some(after)) => {
            let previous = differing(&before, &after);
            (!previous.is_empty()).then_some(("change", Value::Object(after), Value::Object(previous)))
        }
    }
}

/// What `before` held of the keys that are different now; of the custom fields only those.
fn differing(before: &Object, after: &Object) -> Object {
    let mut previous = Object::new();
    for key in before.keys().chain(after.keys().filter(|k| !before.contains_key(*k))) {
        let (old, new) = (before.get(key), after.get(key));
        if old == new {
            continue;
        }
        let told = match (key.as_str(), old, new) {
            ("custom_fields", Some(Value::Object(old)), Some(Value::Object(new))) => Value::Object(differing(old, new)),
            (_, old, _) => old.cloned().unwrap_or(Value::Null),
        };
        previous.insert(key.clone(), told);
    }
    previous
}
