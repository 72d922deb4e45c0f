//! Counting while scripts run.
//!
//! Invariants: a branch is counted by what is evaluated after its condition, on the same level of calls; what is still open when a
//! function fails was not decided. The interpreter runs as it does without: nothing is stopped and no value is changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rhai::debugger::{DebuggerCommand, DebuggerEvent};
use rhai::{ASTNode, Engine};

use super::points::{self, Node, Points};
use super::{Branch, Decision, FunctionHits, ScriptCoverage, Spot};
use crate::script::program::Script;

/// Counts what is run by the programs that it is given to.
#[derive(Debug, Clone, Default)]
pub(in crate::script) struct Recorder(Arc<OnceLock<Counters>>);

#[derive(Debug)]
struct Counters {
    scripts: Vec<Points>,
    statements: HashMap<Node, AtomicU64>,
    /// Script and place within its forks.
    forks: HashMap<Node, (usize, usize)>,
    /// By script, fork and way.
    taken: Vec<Vec<Vec<AtomicU64>>>,
}

/// An `if` or a `switch` whose outcome is not known yet.
struct Open {
    script: usize,
    fork: usize,
    level: usize,
}

thread_local! {
    static OPEN: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
}

impl Recorder {
    /// Has the engine tell every step. Nothing is counted before [`Recorder::look_at`].
    #[expect(deprecated, reason = "marked so by the interpreter to say that it may change; the version is pinned")]
    pub(in crate::script) fn listen(&self, engine: &mut Engine) {
        let counters = self.0.clone();
        engine.register_debugger(
            |_, debugger| debugger,
            move |context, event, node, _, _| {
                if let Some(counters) = counters.get() {
                    counters.step(context.call_level(), &event, &node);
                }
                Ok(DebuggerCommand::StepInto)
            },
        );
    }

    /// Counts the statements and branches of these scripts from now on.
    pub(in crate::script) fn look_at<'a>(&self, scripts: impl Iterator<Item = &'a Script>) {
        let scripts: Vec<Points> = scripts.map(points::of).collect();
        let statements = scripts.iter().flat_map(|s| &s.statements).map(|(_, node)| (*node, AtomicU64::new(0))).collect();
        let mut forks = HashMap::new();
        for (at, script) in scripts.iter().enumerate() {
            forks.extend(script.forks.iter().enumerate().map(|(place, fork)| (fork.node, (at, place))));
        }
        let zero = |fork: &points::Fork| fork.ways.iter().map(|_| AtomicU64::new(0)).collect();
        let taken = scripts.iter().map(|s| s.forks.iter().map(zero).collect()).collect();
        // A recorder is given to one program.
        drop(self.0.set(Counters { scripts, statements, forks, taken }));
    }

    /// What was counted so far, by file.
    pub(in crate::script) fn counted(&self) -> BTreeMap<Arc<str>, ScriptCoverage> {
        let Some(counters) = self.0.get() else { return BTreeMap::new() };
        let all = counters.scripts.iter().zip(&counters.taken);
        all.map(|(points, taken)| (points.file.clone(), counters.of(points, taken))).collect()
    }
}

impl Counters {
    fn step(&self, level: usize, event: &DebuggerEvent<'_>, node: &ASTNode<'_>) {
        let failed = matches!(event, DebuggerEvent::FunctionExitWithError(_));
        let left = failed || matches!(event, DebuggerEvent::FunctionExitWithValue(_));
        let node = if left { None } else { Node::of(node) };
        OPEN.with_borrow_mut(|open| {
            match event {
                // Another run: what the one before it left open was not decided.
                DebuggerEvent::Start | DebuggerEvent::End => open.clear(),
                // Functions that failed have left theirs.
                _ => open.retain(|o| o.level <= level),
            }
            while let Some(last) = open.last().filter(|o| o.level == level) {
                let fork = &self.scripts[last.script].forks[last.fork];
                if node.is_some_and(|node| fork.asked.contains(&node)) {
                    break;
                }
                if !failed && !node.is_some_and(|node| fork.caught.contains(&node)) {
                    let way = fork.ways.iter().position(|way| node.is_some_and(|node| way.nodes.contains(&node)));
                    let way = way.or_else(|| fork.ways.iter().position(|way| way.nodes.is_empty()));
                    if let Some(way) = way {
                        self.taken[last.script][last.fork][way].fetch_add(1, Ordering::Relaxed);
                    }
                }
                open.pop();
            }
            let Some(node) = node else { return };
            if let Some(hits) = self.statements.get(&node) {
                hits.fetch_add(1, Ordering::Relaxed);
            }
            if let Some((script, fork)) = self.forks.get(&node) {
                open.push(Open { script: *script, fork: *fork, level });
            }
        });
    }

    fn of(&self, points: &Points, taken: &[Vec<AtomicU64>]) -> ScriptCoverage {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut statements: BTreeMap<Spot, u64> = BTreeMap::new();
        for (spot, node) in &points.statements {
            *statements.entry(*spot).or_default() += self.statements.get(node).map_or(0, read);
        }
        let functions = points.functions.iter().map(|(name, line, begin, end)| FunctionHits {
            name: name.clone(),
            line: *line,
            hits: statements.range(begin..end).next().map_or(0, |(_, hits)| *hits),
        });
        let functions = functions.collect();
        let decision = |(fork, taken): (&points::Fork, &Vec<AtomicU64>)| {
            let branch = |(way, hits): (&points::Way, &AtomicU64)| Branch { kind: way.kind, line: way.line, hits: read(hits) };
            (fork.spot, Decision { branches: fork.ways.iter().zip(taken).map(branch).collect() })
        };
        let decisions = points.forks.iter().zip(taken).map(decision).collect();
        ScriptCoverage { file: points.file.clone(), text: points.text.clone(), functions, statements, decisions }
    }
}
