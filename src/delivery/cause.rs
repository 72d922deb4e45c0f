//! Why a delivery failed, as far as others fail for the same reason: for counts of dead letters.
//!
//! Invariants: a cause holds no value of an event and no id, so it may be shown anywhere; deliveries that failed for the same reason at the
//! same place of a script have the same cause.

use super::trouble::{NOTHING_BRIEF, Trouble};
use crate::store::{Cause, DeliveryState};

impl Trouble {
    /// What it has in common with others that end a delivery in this state.
    pub(super) fn cause(&self, state: DeliveryState) -> Cause {
        let class = if state == DeliveryState::Uncertain { state.as_str() } else { self.class.as_str() };
        let text = if self.brief == NOTHING_BRIEF { &self.reason } else { &self.brief };
        Cause { class: class.to_owned(), what: without_ids(text) }
    }
}

/// The text with `#` for every id: numbers that stand alone or in a path, and uuids. Line numbers, statuses and the numbers of actions stay.
fn without_ids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = "";
    for piece in pieces(text) {
        let is_id = is_uuid(piece)
            || piece.chars().all(|c| c.is_ascii_digit())
                && !out.ends_with([':', '(', '.'])
                && before != "action"
                && !piece.is_empty();
        out.push_str(if is_id { "#" } else { piece });
        if piece.chars().any(char::is_alphanumeric) {
            before = piece;
        }
    }
    out
}

/// Words (letters, digits, hyphens) and what stands between them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let word = is_word(first);
        let end = rest.find(|c| is_word(c) != word).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

fn is_uuid(piece: &str) -> bool {
    piece.len() == 36 && uuid::Uuid::try_parse(piece).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_has_the_class_and_what_may_be_said_of_it() {
        let cause = |trouble: Trouble, state| {
            let Cause { class, what } = trouble.cause(state);
            (class, what)
        };
        let said = |class: &str, what: &str| (class.to_owned(), what.to_owned());
        let archived = || Trouble::permanent("the deal 17 is archived");
        assert_eq!(cause(archived(), DeliveryState::Dead), said("permanent", "the deal # is archived"));
        assert_eq!(cause(archived(), DeliveryState::Uncertain), said("uncertain", "the deal # is archived"));
        let given_up =
            Trouble::permanent("the script gave it up: ada@acme.com").briefly("the script gave it up at scripts/a.rhai:3");
        assert_eq!(cause(given_up, DeliveryState::Dead), said("permanent", "the script gave it up at scripts/a.rhai:3"));
    }

    #[test]
    fn ids_go_and_places_and_statuses_stay() {
        for (text, left) in [
            ("PATCH /api/v2/persons/17: refused (400)", "PATCH /api/v2/persons/#: refused (400)"),
            ("scripts/person.rhai:12:5: no such field", "scripts/person.rhai:12:5: no such field"),
            ("the deal 17 is archived", "the deal # is archived"),
            ("the lead 0195f3c4-7d1a-7000-8000-0123456789ab is gone", "the lead # is gone"),
            ("action 2 refers to the person 9 of 17/person", "action 2 refers to the person # of #/person"),
            ("not found within 15m", "not found within 15m"),
        ] {
            assert_eq!(without_ids(text), left);
        }
    }
}
