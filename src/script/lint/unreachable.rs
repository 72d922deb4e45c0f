//! Code behind what ends a block: `return`, `throw`, `break`, `continue`, and the calls that never come back.
//!
//! Invariant: no false alarms: a branch ends a block only when every way through it does.

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt};

use crate::diagnostic::{Code, Diagnostic};
use crate::script::outline::Outline;
use crate::script::program::Script;

/// Host functions that end the run.
pub(super) const ENDING: [&str; 3] = ["skip", "fail", "retry"];

/// Code that never runs.
pub(super) fn problems(script: &Script, outline: &Outline) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut list = |statements: &[Stmt]| found.extend(behind_end(statements, outline));
    list(&outline.top);
    outline.functions.iter().for_each(|function| list(&function.body));
    script.ast.walk(&mut |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, ..) | Stmt::TryCatch(flow, _))) => {
                list(flow.body.statements());
                list(flow.branch.statements());
            }
            Some(ASTNode::Stmt(Stmt::For(x, _))) => list(x.2.body.statements()),
            Some(ASTNode::Stmt(Stmt::Block(block))) | Some(ASTNode::Expr(Expr::Stmt(block))) => list(block.statements()),
            _ => {}
        }
        true
    });
    let problem = |(at, ender): (Position, String)| {
        let d = Diagnostic::warning("this code never runs").code(Code::Unreachable);
        script.place(d.note(format!("{ender} before it ends the block")).help("delete it, or move it before that"), at)
    };
    found.into_iter().map(problem).collect()
}

/// The first statement behind one that ends the list, and what that is.
fn behind_end(statements: &[Stmt], outline: &Outline) -> Option<(Position, String)> {
    let statements: Vec<&Stmt> = statements.iter().filter(|statement| !statement.is_noop()).collect();
    statements.windows(2).find_map(|pair| {
        let ender = end(pair[0], outline)?;
        Some((begin(pair[1]), ender))
    })
}

fn begin(statement: &Stmt) -> Position {
    match statement {
        Stmt::Assignment(x) => x.1.lhs.start_position(),
        other => other.position(),
    }
}

/// What makes a statement end its block, when it does.
fn end(statement: &Stmt, outline: &Outline) -> Option<String> {
    match statement {
        Stmt::Return(_, flags, position) => {
            let word = if flags.contains(rhai::ASTFlags::BREAK) { "throw" } else { "return" };
            Some(at(word, *position))
        }
        Stmt::BreakLoop(_, flags, position) => {
            let word = if flags.contains(rhai::ASTFlags::BREAK) { "break" } else { "continue" };
            Some(at(word, *position))
        }
        Stmt::FnCall(call, position) => of_call(call, *position, outline),
        Stmt::Expr(expr) => of_expr(expr, outline),
        Stmt::Block(block) => last_end(block.statements(), outline),
        Stmt::If(flow, position) => {
            last_end(flow.body.statements(), outline)?;
            last_end(flow.branch.statements(), outline)?;
            Some(at("if", *position))
        }
        Stmt::Switch(x, position) => {
            x.1.def_case?;
            x.1.expressions.iter().all(|arm| of_expr(&arm.rhs, outline).is_some()).then(|| at("switch", *position))
        }
        _ => None,
    }
}

fn last_end(statements: &[Stmt], outline: &Outline) -> Option<String> {
    statements.iter().find_map(|statement| end(statement, outline))
}

fn of_expr(expr: &Expr, outline: &Outline) -> Option<String> {
    match expr {
        Expr::FnCall(call, position) => of_call(call, *position, outline),
        Expr::Stmt(block) => last_end(block.statements(), outline),
        _ => None,
    }
}

fn of_call(call: &FnCallExpr, position: Position, outline: &Outline) -> Option<String> {
    let ends = call.namespace.path.is_empty() && ENDING.contains(&call.name.as_str()) && !outline.defines(&call.name);
    ends.then(|| at(&call.name, position))
}

fn at(word: &str, position: Position) -> String {
    match position.line() {
        Some(line) => format!("`{word}` in line {line}"),
        None => format!("`{word}`"),
    }
}
