//! Which ids are one user, as alias events have said: classes of ids, in memory, in step with the store.
//!
//! Invariants:
//! - A class has at least two ids and at most [`MOST_IN_CLASS`]; an id is in one class at most. The first of a class is the `userId` of its
//!   newest alias, under which all of the class stand in order; the others follow, those that were named last before older ones.
//! - The store alone changes the table ([`Aliases`]), after the commit that the change is part of and before that commit is answered.
//! - Nobody waits for a lock to learn that there are no aliases.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

/// Ids in a class. Each costs its events a look at one more lane, and a look-up that finds nothing one more look-up.
pub const MOST_IN_CLASS: usize = 16;
/// Bytes of an id in a class.
pub const LONGEST_ID: usize = 512;

/// Ids of one user, the newest `userId` first.
pub type Class = Arc<[Arc<str>]>;

/// What an alias event says: `previous` is now `user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Canonical `userId`.
    pub user: String,
    /// Canonical `previousId`.
    pub previous: String,
}

/// Why an alias joins nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotJoined {
    /// The class would be too large.
    #[error("together they would be more than {MOST_IN_CLASS} ids of one user")]
    Class,
    /// An id is too long.
    #[error("an id of it is longer than {LONGEST_ID} bytes")]
    Id,
    /// The table is full.
    #[error("aliases have joined {0} ids already, which is the most that are held")]
    Table(usize),
}

impl Alias {
    /// The class that it makes of those that its ids are in; none when that changes nothing.
    ///
    /// # Errors
    /// When a bound stands against it.
    pub(crate) fn joins(&self, user: Option<&Class>, previous: Option<&Class>) -> Result<Option<Class>, NotJoined> {
        if self.user == self.previous {
            return Ok(None);
        }
        if self.user.len().max(self.previous.len()) > LONGEST_ID {
            return Err(NotJoined::Id);
        }
        let [first, named] = [&self.user, &self.previous].map(|id| Arc::from(id.as_str()));
        let before = user.map_or(&[][..], |class| class);
        let mut ids: Vec<Arc<str>> = vec![first];
        for id in previous.map_or(std::slice::from_ref(&named), |class| class).iter().chain(before) {
            if !ids.contains(id) {
                ids.push(Arc::clone(id));
            }
        }
        if ids.len() > MOST_IN_CLASS {
            return Err(NotJoined::Class);
        }
        Ok((user.is_none_or(|class| **class != *ids)).then(|| ids.into()))
    }
}

/// All classes. Reading costs an atomic load while there are none.
#[derive(Debug, Default)]
pub struct Aliases {
    ids: AtomicUsize,
    class_of: RwLock<HashMap<Arc<str>, Class>>,
}

impl Aliases {
    /// The class of an id; none when no alias has named it.
    #[must_use]
    pub fn class_of(&self, id: &str) -> Option<Class> {
        if self.is_empty() {
            return None;
        }
        self.class_of.read().get(id).cloned()
    }

    /// Whether no two ids are one user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many ids are in classes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.load(Ordering::Acquire)
    }

    /// Carries out changes, so that nobody sees some of them only.
    pub(crate) fn change(&self, changes: impl IntoIterator<Item = Change>) {
        let mut class_of = self.class_of.write();
        for change in changes {
            match change {
                Change::Class(class) => put(&mut class_of, &class),
                Change::Gone(id) => drop(class_of.remove(&id)),
            }
        }
        self.ids.store(class_of.len(), Ordering::Release);
    }
}

/// What a commit does to the table.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Its ids are in this class from now on.
    Class(Class),
    /// The id is in no class any more.
    Gone(Arc<str>),
}

fn put(class_of: &mut HashMap<Arc<str>, Class>, class: &Class) {
    class_of.extend(class.iter().map(|id| (Arc::clone(id), Arc::clone(class))));
}

/// The classes as one request's later events see them: with what its earlier ones join.
#[derive(Debug)]
pub struct Joined<'a> {
    shared: &'a Aliases,
    own: HashMap<Arc<str>, Class>,
}

impl<'a> Joined<'a> {
    /// Nothing of its own yet.
    #[must_use]
    pub fn new(shared: &'a Aliases) -> Self {
        Self { shared, own: HashMap::new() }
    }

    /// Whether no two ids are one user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.shared.is_empty()
    }

    /// The class of an id.
    #[must_use]
    pub fn class_of(&self, id: &str) -> Option<Class> {
        self.own.get(id).cloned().or_else(|| self.shared.class_of(id))
    }

    /// Takes an alias in. Whether it is one for all is the store's to say: here only order hangs on it.
    pub fn join(&mut self, alias: &Alias) {
        let (user, previous) = (self.class_of(&alias.user), self.class_of(&alias.previous));
        if let Ok(Some(class)) = alias.joins(user.as_ref(), previous.as_ref()) {
            put(&mut self.own, &class);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(user: &str, previous: &str) -> Alias {
        Alias { user: user.to_owned(), previous: previous.to_owned() }
    }

    fn classes(aliases: &[(&str, &str)], id: &str) -> Option<Vec<String>> {
        let shared = Aliases::default();
        let mut joined = Joined::new(&shared);
        for (user, previous) in aliases {
            joined.join(&alias(user, previous));
        }
        joined.class_of(id).map(|class| class.iter().map(|id| id.to_string()).collect())
    }

    #[test]
    fn chains_and_cycles_make_one_class_that_begins_with_the_newest_user() {
        let class = |aliases: &[(&str, &str)]| classes(aliases, "p").unwrap_or_default().join(" ");
        assert_eq!(class(&[("u", "p")]), "u p");
        assert_eq!(class(&[("u", "p"), ("v", "u")]), "v u p");
        assert_eq!(class(&[("u", "p"), ("p", "u")]), "p u");
        assert_eq!(class(&[("u", "p"), ("v", "u"), ("p", "v")]), "p v u");
        assert_eq!(class(&[("u", "p"), ("u", "q")]), "u q p");
        assert_eq!(class(&[("u", "p"), ("v", "q"), ("u", "v")]), "u v q p");
        assert_eq!(class(&[("u", "p"), ("u", "p")]), "u p");
        assert_eq!(class(&[("p", "p")]), "", "nothing is joined with itself");
    }

    #[test]
    fn what_changes_nothing_is_told_from_what_does() {
        let class: Class = ["u", "p", "q"].map(Arc::from).into();
        assert_eq!(alias("u", "p").joins(Some(&class), Some(&class)), Ok(None));
        let turned = alias("q", "u").joins(Some(&class), Some(&class)).expect("fits").expect("another first");
        assert_eq!(turned.join(" "), "q u p");
    }

    #[test]
    fn a_class_and_its_ids_are_bounded() {
        let class: Class = (0..MOST_IN_CLASS).map(|n| Arc::from(n.to_string())).collect();
        assert_eq!(alias("0", "more").joins(Some(&class), None), Err(NotJoined::Class));
        assert_eq!(alias("more", "0").joins(None, Some(&class)), Err(NotJoined::Class));
        assert_eq!(alias("u", &"x".repeat(LONGEST_ID + 1)).joins(None, None), Err(NotJoined::Id));
        assert!(alias("u", &"x".repeat(LONGEST_ID)).joins(None, None).is_ok());
    }
}
