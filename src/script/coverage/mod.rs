//! Which statements and branches of scripts were run.
//!
//! Invariants: only programs that are compiled for it count, with an engine of their own that steps through every node; the live set's
//! engine has no debugger. Counted are the statements of functions and closures, and the outcomes of `if` and of `switch`; what stands
//! outside of functions (imports, constants) is evaluated when a script is loaded, and not counted. A branch counts when it was taken:
//! a condition that throws, or that ends the run to wait for a read, decides nothing.

mod points;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use record::Recorder;

/// A place: line and column, from 1.
pub type Spot = (usize, usize);

/// What was run of one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptCoverage {
    /// File, relative to `scripts/`.
    pub file: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// Its functions, by place.
    pub functions: Vec<FunctionHits>,
    /// How often each statement was run, by where it begins.
    pub statements: BTreeMap<Spot, u64>,
    /// Its `if`s and `switch`es, by place.
    pub decisions: BTreeMap<Spot, Decision>,
}

/// How often a function was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionHits {
    /// Name.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Calls.
    pub hits: u64,
}

/// An `if` or a `switch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The ways on from it, in the order of the script.
    pub branches: Vec<Branch>,
}

/// One way on from an `if` or a `switch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Which.
    pub kind: BranchKind,
    /// Line where it begins; that of the `if` or `switch` where nothing is written for it.
    pub line: usize,
    /// How often it was taken.
    pub hits: u64,
}

/// Which branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchKind {
    /// The condition of an `if` holds.
    True,
    /// It does not.
    False,
    /// An arm of a `switch`.
    Arm,
    /// No arm of a `switch` without `_`.
    NoArm,
}

impl ScriptCoverage {
    /// How often each line was run, for lines on which a statement or an arm of a `switch` begins. Of several, the one that was run
    /// least counts: a line is covered when all that begins on it was run.
    #[must_use]
    pub fn lines(&self) -> BTreeMap<usize, u64> {
        let mut lines = BTreeMap::new();
        let arms = self.branches().filter(|(_, b)| b.kind == BranchKind::Arm).map(|(_, b)| (b.line, b.hits));
        for (line, hits) in self.statements.iter().map(|((line, _), hits)| (*line, *hits)).chain(arms) {
            lines.entry(line).and_modify(|least: &mut u64| *least = hits.min(*least)).or_insert(hits);
        }
        lines
    }

    /// The branches with the place of what they belong to.
    pub fn branches(&self) -> impl Iterator<Item = (Spot, &Branch)> {
        self.decisions.iter().flat_map(|(spot, decision)| decision.branches.iter().map(|branch| (*spot, branch)))
    }

    /// Adds what another run of the same text counted.
    pub fn add(&mut self, other: &Self) {
        for (function, more) in self.functions.iter_mut().zip(&other.functions) {
            function.hits += more.hits;
        }
        for (spot, hits) in &mut self.statements {
            *hits += other.statements.get(spot).copied().unwrap_or(0);
        }
        for (spot, decision) in &mut self.decisions {
            let more = other.decisions.get(spot).map_or(&[][..], |d| d.branches.as_slice());
            for (branch, more) in decision.branches.iter_mut().zip(more) {
                branch.hits += more.hits;
            }
        }
    }
}
