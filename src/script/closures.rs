//! Where closures may capture.
//!
//! Invariants: a closure that uses variables around it is an argument of a function that calls it and keeps it nowhere. Captured
//! variables are shared cells behind a lock, counted by reference: a closure kept in what it captures would never be freed, and
//! functions that walk such a value under its lock would wait for themselves for ever. Partial application could keep a cell as
//! well, and its values are under no size limit. A chain of calls holds the lock of the variable that it begins with, so that no
//! closure within it may use that one.

use std::collections::BTreeSet;

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Ident, Position, Stmt};

use super::program::Script;
use crate::diagnostic::{Code, Diagnostic};

/// Builtins, and functions of tests, that take a closure and are done with it when they return.
const TAKE_CLOSURES: [&str; 19] = [
    "all",
    "assert_error",
    "dedup",
    "drain",
    "filter",
    "find",
    "find_map",
    "for_each",
    "index_of",
    "map",
    "order",
    "order_by",
    "reduce",
    "reduce_rev",
    "retain",
    "some",
    "sort",
    "sort_by",
    "zip",
];

/// What a script does with closures that it may not.
pub(super) fn problems(script: &Script) -> Vec<Diagnostic> {
    // A script's function goes before a builtin of its name, and may keep what it is given.
    let own: BTreeSet<&str> = script.ast.iter_functions().map(|f| f.name).collect();
    let mut problems = Vec::new();
    script.ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(Stmt::Share(names)) = statement(path, 0)
            && !path.iter().rev().nth(2).is_some_and(|user| takes_closures(user, &own))
        {
            let (name, at) = names.first().map_or(("", Position::NONE), |(ident, _)| (ident.name.as_str(), ident.pos));
            let problem = Diagnostic::error(format!("a closure that uses `{name}` from around it cannot be kept"))
                .help("write it where it is called, as in `list.filter(|x| x > least)`, or hand it what it needs as a parameter");
            problems.push(script.place(problem.code(Code::Kept), at));
        }
        problems.extend(over_own_chain(path).map(|ident| {
            let name = &ident.name;
            let problem =
                Diagnostic::error(format!("the closure uses `{name}`, and the expression that calls it begins with `{name}`"))
                    .note(format!(
                        "`{name}` is held until the whole expression is done, so that the closure would fail at every event"
                    ))
                    .help(format!("take out before what the closure needs: `let wanted = {name}..;`"));
            script.place(problem.code(Code::OwnChain), ident.pos)
        }));
        if let Some((call, at)) = call(path.last())
            && call.name == "curry"
            && !is_capture(path)
        {
            let problem =
                Diagnostic::error("`curry` does not exist here").code(Code::NotHere).help("write a closure: `|x| f.call(1, x)`");
            problems.push(script.place(problem, at));
        }
        true
    });
    problems
}

pub(super) fn statement<'a>(path: &[ASTNode<'a>], up: usize) -> Option<&'a Stmt> {
    match path.iter().rev().nth(up) {
        Some(ASTNode::Stmt(statement)) => Some(statement),
        _ => None,
    }
}

pub(super) fn call<'a>(node: Option<&ASTNode<'a>>) -> Option<(&'a FnCallExpr, Position)> {
    match node {
        Some(ASTNode::Expr(Expr::FnCall(call, at) | Expr::MethodCall(call, at))) => Some((call, *at)),
        Some(ASTNode::Stmt(Stmt::FnCall(call, at))) => Some((call, *at)),
        _ => None,
    }
}

/// The use of a variable by a closure in a chain that begins with that variable, as in `list.filter(|x| x == list[0])`.
fn over_own_chain<'a>(path: &[ASTNode<'a>]) -> Option<&'a Ident> {
    let (Expr::Dot(first, ..) | Expr::Index(first, ..)) = expr(path, 0)? else { return None };
    let Expr::Variable(root, ..) = &first.lhs else { return None };
    // What stands behind an index that a chain goes on after begins with the index.
    if let Some(Expr::Index(_, flags, _)) = expr(path, 1)
        && !flags.contains(ASTFlags::BREAK)
    {
        return None;
    }
    let mut node = expr(path, 0)?;
    loop {
        let (link, of_value) = match node {
            Expr::Dot(x, ..) => (&x.rhs, true),
            Expr::Index(x, flags, _) if !flags.contains(ASTFlags::BREAK) => (&x.rhs, false),
            _ => return None,
        };
        let called = match link {
            Expr::Dot(x, ..) | Expr::Index(x, ..) => &x.lhs,
            last => last,
        };
        if of_value
            && let Expr::MethodCall(call, _) = called
            && let Some(found) = call.args.iter().flat_map(captured).find(|ident| ident.name == root.1)
        {
            return Some(found);
        }
        node = link;
    }
}

fn expr<'a>(path: &[ASTNode<'a>], up: usize) -> Option<&'a Expr> {
    match path.iter().rev().nth(up) {
        Some(ASTNode::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// The variables that a closure takes from around it, when the value is one.
fn captured(value: &Expr) -> impl Iterator<Item = &Ident> {
    let names = match value {
        Expr::Stmt(block) => match block.statements().first() {
            Some(Stmt::Share(names)) => Some(names),
            _ => None,
        },
        _ => None,
    };
    names.into_iter().flat_map(|names| names.iter().map(|(ident, _)| ident))
}

pub(super) fn takes_closures(node: &ASTNode<'_>, own: &BTreeSet<&str>) -> bool {
    call(Some(node))
        .is_some_and(|(call, _)| call.namespace.path.is_empty() && is_builtin(&call.name) && !own.contains(call.name.as_str()))
}

pub(super) fn is_builtin(name: &str) -> bool {
    TAKE_CLOSURES.contains(&name)
}

/// The call that the parser makes of a closure with captures: it follows the sharing of what is captured.
fn is_capture(path: &[ASTNode<'_>]) -> bool {
    path.iter().rev().skip(1).take(2).any(
        |node| matches!(node, ASTNode::Expr(Expr::Stmt(block)) if matches!(block.statements().first(), Some(Stmt::Share(_)))),
    )
}

pub(super) fn is_function(value: &Expr) -> bool {
    match value {
        Expr::DynamicConstant(value, _) => value.is_fnptr(),
        Expr::Stmt(_) => captured(value).next().is_some(),
        Expr::FnCall(call, _) => call.name == "Fn",
        _ => false,
    }
}
