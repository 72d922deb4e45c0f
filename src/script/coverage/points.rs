//! What there is to count in a script: nodes of its syntax tree, by their address.
//!
//! Invariant: the addresses are those of nodes within function bodies, which are shared, never copied, by all that runs them; they are
//! compared, never followed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rhai::{ASTNode, Expr, Position, Stmt};

use super::{BranchKind, Spot};
use crate::script::program::Script;

/// A node: statement or expression, and where it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Node(bool, usize);

impl Node {
    pub(super) fn of(node: &ASTNode<'_>) -> Option<Self> {
        match node {
            ASTNode::Stmt(statement) => Some(Self(true, std::ptr::from_ref(*statement).addr())),
            ASTNode::Expr(expression) => Some(Self(false, std::ptr::from_ref(*expression).addr())),
            _ => None,
        }
    }
}

/// What there is to count in one script.
#[derive(Debug)]
pub(super) struct Points {
    pub(super) file: Arc<str>,
    pub(super) text: Arc<str>,
    /// Name, line, and where its body begins and ends.
    pub(super) functions: Vec<(String, usize, Spot, Spot)>,
    /// Where each statement begins, and the node whose evaluation begins it.
    pub(super) statements: Vec<(Spot, Node)>,
    pub(super) forks: Vec<Fork>,
}

/// An `if` or a `switch`.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) spot: Spot,
    pub(super) node: Node,
    /// The nodes of what is asked: condition, value, guards.
    pub(super) asked: HashSet<Node>,
    pub(super) ways: Vec<Way>,
    /// The nodes of the `catch` that an error of what is asked leads to.
    pub(super) caught: HashSet<Node>,
}

/// One way on from it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) kind: BranchKind,
    pub(super) line: usize,
    /// The nodes within; empty for the one way that is taken when none of the others is.
    pub(super) nodes: HashSet<Node>,
}

/// Looks through a script.
pub(super) fn of(script: &Script) -> Points {
    let outside: HashSet<Node> = script.ast.statements().iter().filter_map(|s| Node::of(&ASTNode::Stmt(s))).collect();
    let mut statements: HashMap<Node, Spot> = HashMap::new();
    let mut forks = Vec::new();
    let mut tries = Vec::new();
    script.ast.walk(&mut |path: &[ASTNode<'_>]| {
        if path.first().and_then(Node::of).is_some_and(|first| outside.contains(&first)) {
            return true;
        }
        if let Some(ASTNode::Stmt(statement)) = path.last() {
            if let Some((node, spot)) = statement_at(statement) {
                statements.insert(node, spot);
            }
            forks.extend(fork(statement));
            if let Stmt::TryCatch(parts, _) = statement {
                tries.push((nodes_of(parts.body.statements()), nodes_of(parts.branch.statements())));
            }
        }
        true
    });
    for fork in &mut forks {
        for (_, branch) in tries.iter().filter(|(body, _)| body.contains(&fork.node)) {
            fork.caught.extend(branch);
        }
    }
    let mut statements: Vec<(Spot, Node)> = statements.into_iter().map(|(node, spot)| (spot, node)).collect();
    statements.sort_by_key(|(spot, _)| *spot);
    forks.sort_by_key(|fork: &Fork| fork.spot);
    Points { file: script.file.clone(), text: script.text.clone(), functions: functions(script), statements, forks }
}

fn functions(script: &Script) -> Vec<(String, usize, Spot, Spot)> {
    let mut found = Vec::new();
    for function in script.ast.iter_fn_def().filter(|f| !f.name.starts_with("anon$")) {
        let (Some(begin), Some(end)) = (spot(function.body.start_position()), spot(function.body.end_position())) else {
            continue;
        };
        found.push((function.name.to_string(), begin.0, begin, end));
    }
    found.sort_by_key(|(_, _, begin, _)| *begin);
    found
}

/// Where a statement begins, and the node whose evaluation begins it; none for what only groups others.
fn statement_at(statement: &Stmt) -> Option<(Node, Spot)> {
    match statement {
        Stmt::Noop(_) | Stmt::Block(_) | Stmt::Share(_) => None,
        Stmt::Expr(expression) => match &**expression {
            Expr::Stmt(_) => None,
            inner => Some((Node::of(&ASTNode::Expr(inner))?, spot(inner.start_position())?)),
        },
        // Its own position is that of the operator.
        Stmt::Assignment(both) => Some((Node::of(&ASTNode::Stmt(statement))?, spot(both.1.lhs.start_position())?)),
        other => Some((Node::of(&ASTNode::Stmt(other))?, spot(other.position())?)),
    }
}

fn fork(statement: &Stmt) -> Option<Fork> {
    let node = Node::of(&ASTNode::Stmt(statement))?;
    let spot_of = spot(statement.position())?;
    let mut asked = HashSet::new();
    let mut ways = Vec::new();
    match statement {
        Stmt::If(parts, _) => {
            within(&parts.expr, &mut asked);
            for (kind, block) in [(BranchKind::True, &parts.body), (BranchKind::False, &parts.branch)] {
                let nodes = nodes_of(block.statements());
                let first = block.statements().first().and_then(|s| spot(s.position()));
                ways.push(Way { kind, line: first.map_or(spot_of.0, |(line, _)| line), nodes });
            }
        }
        Stmt::Switch(parts, _) => {
            let (value, cases) = &**parts;
            within(value, &mut asked);
            for case in &cases.expressions {
                within(&case.lhs, &mut asked);
                let mut nodes = HashSet::new();
                within(&case.rhs, &mut nodes);
                let line = spot(case.rhs.start_position()).map_or(spot_of.0, |(line, _)| line);
                ways.push(Way { kind: BranchKind::Arm, line, nodes });
            }
            if cases.def_case.is_none() {
                ways.push(Way { kind: BranchKind::NoArm, line: spot_of.0, nodes: HashSet::new() });
            }
        }
        _ => return None,
    }
    // Of several ways on which nothing is evaluated, nobody can tell which was taken, and none of them does anything.
    if ways.iter().filter(|way| way.nodes.is_empty()).count() > 1 {
        ways.retain(|way| !way.nodes.is_empty());
    }
    (!ways.is_empty()).then_some(Fork { spot: spot_of, node, asked, ways, caught: HashSet::new() })
}

fn within(expression: &Expr, nodes: &mut HashSet<Node>) {
    // An empty block `{}` is an expression that is never evaluated by itself.
    expression.walk(&mut Vec::new(), &mut |path: &[ASTNode<'_>]| {
        let grouping = |node: &ASTNode<'_>| matches!(node, ASTNode::Expr(Expr::Stmt(_)));
        nodes.extend(path.last().filter(|node| !grouping(node)).and_then(Node::of));
        true
    });
}

fn nodes_of(statements: &[Stmt]) -> HashSet<Node> {
    let mut nodes = HashSet::new();
    for statement in statements {
        statement.walk(&mut Vec::new(), &mut |path: &[ASTNode<'_>]| {
            nodes.extend(path.last().and_then(Node::of));
            true
        });
    }
    nodes
}

fn spot(position: Position) -> Option<Spot> {
    Some((position.line()?, position.position()?))
}
