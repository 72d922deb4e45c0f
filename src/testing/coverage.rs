//! How much of the rules' scripts the tests run, for people and for other programs.
//!
//! Invariants: every script of a rule counts, of rules that are off too, with what it imports; tests do not. One percentage stands for lines
//! and branches together, and is rounded down: 100 means all of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::rules::ScriptSet;
use crate::script::{Branch, BranchKind, ScriptCoverage, TestSuite};

/// How much of the rules' scripts the tests ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The scripts, by file.
    pub scripts: Vec<ScriptCoverage>,
}

/// How many there are, and how many were run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many there are.
    pub all: usize,
    /// How many were run.
    pub hit: usize,
}

/// Lines and branches of a script, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Lines on which something begins that can be run.
    pub lines: Share,
    /// Outcomes of `if` and `switch`.
    pub branches: Share,
}

/// A line or a branch that no test ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// Line, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// What was not run.
    pub what: &'static str,
}

impl Coverage {
    /// What the program of the rules and that of the tests counted, for the scripts that rules name and what these import.
    pub(super) fn of(set: &ScriptSet, suite: &TestSuite) -> Self {
        let scripts = set.rules.iter().map(|rule| rule.config.script.as_str());
        let wanted: BTreeSet<Arc<str>> = scripts.flat_map(|script| set.program.with_imports(script)).collect();
        let by_tests = suite.coverage();
        let counted = set.program.coverage().into_iter().filter(|(file, _)| wanted.contains(file));
        let scripts = counted.map(|(file, mut script)| {
            if let Some(more) = by_tests.get(&file) {
                script.add(more);
            }
            script
        });
        Self { scripts: scripts.collect() }
    }

    /// Lines and branches of all scripts.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let add = |a: Share, b: Share| Share { all: a.all + b.all, hit: a.hit + b.hit };
        self.scripts
            .iter()
            .map(totals)
            .fold(Totals::default(), |sum, t| Totals { lines: add(sum.lines, t.lines), branches: add(sum.branches, t.branches) })
    }

    /// The percentage of lines and branches that were run; 100 where there are none.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.totals().percent()
    }

    /// The records of all scripts in the format of lcov: functions, branches and lines.
    #[must_use]
    pub fn lcov(&self) -> String {
        self.scripts.iter().map(lcov).collect()
    }
}

impl Totals {
    /// The percentage of lines and branches that were run, in tenths, rounded down; 100 where there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
    pub fn percent(&self) -> f64 {
        let all = self.lines.all + self.branches.all;
        let hit = self.lines.hit + self.branches.hit;
        (hit * 1000).checked_div(all).unwrap_or(1000) as f64 / 10.0
    }
}

/// Lines and branches of one script.
#[must_use]
pub fn totals(script: &ScriptCoverage) -> Totals {
    let share = |hits: &mut dyn Iterator<Item = u64>| {
        hits.fold(Share::default(), |s, hits| Share { all: s.all + 1, hit: s.hit + usize::from(hits > 0) })
    };
    Totals {
        lines: share(&mut script.lines().into_values()),
        branches: share(&mut script.branches().map(|(_, branch)| branch.hits)),
    }
}

/// The lines and branches of a script that were not run, by place. An arm or a branch whose own line is named already is not named again.
#[must_use]
pub fn missed(script: &ScriptCoverage) -> Vec<Missed> {
    let text = |line: usize| script.text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim().to_owned();
    let lines = script.lines();
    let unrun = |line: usize| lines.get(&line) == Some(&0);
    let mut found: Vec<Missed> = lines
        .iter()
        .filter(|(_, hits)| **hits == 0)
        .map(|(line, _)| Missed { line: *line, text: text(*line), what: "never run" })
        .collect();
    for ((line, _), branch) in script.branches().filter(|(_, branch)| branch.hits == 0) {
        // Something that is written for it, on a line of its own or of a decision that was never reached.
        if unrun(line) || (branch.line != line && unrun(branch.line)) {
            continue;
        }
        found.push(Missed { line, text: text(line), what: never(branch.kind) });
    }
    found.sort_by_key(|missed| missed.line);
    found
}

const fn never(kind: BranchKind) -> &'static str {
    match kind {
        BranchKind::True => "the condition never holds",
        BranchKind::False => "the condition always holds",
        BranchKind::Arm => "an arm is never taken",
        BranchKind::NoArm => "there is always an arm that fits",
    }
}

fn lcov(script: &ScriptCoverage) -> String {
    let mut text = format!("TN:\nSF:scripts/{}\n", script.file);
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{words}");
    };
    for function in &script.functions {
        line(format_args!("FN:{},{}", function.line, function.name));
    }
    for function in &script.functions {
        line(format_args!("FNDA:{},{}", function.hits, function.name));
    }
    line(format_args!("FNF:{}", script.functions.len()));
    line(format_args!("FNH:{}", script.functions.iter().filter(|f| f.hits > 0).count()));
    for (block, ((at, _), decision)) in script.decisions.iter().enumerate() {
        let reached = decision.branches.iter().any(|branch| branch.hits > 0);
        for (number, Branch { hits, .. }) in decision.branches.iter().enumerate() {
            match reached {
                true => line(format_args!("BRDA:{at},{block},{number},{hits}")),
                false => line(format_args!("BRDA:{at},{block},{number},-")),
            }
        }
    }
    let Totals { lines, branches } = totals(script);
    line(format_args!("BRF:{}\nBRH:{}", branches.all, branches.hit));
    for (at, hits) in script.lines() {
        line(format_args!("DA:{at},{hits}"));
    }
    line(format_args!("LF:{}\nLH:{}\nend_of_record", lines.all, lines.hit));
    text
}
