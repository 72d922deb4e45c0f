//! `switch` over a reference: the interpreter compares it with nothing and takes the default arm without a word, so it is refused
//! before any event comes.
//!
//! Invariant: no script is refused by mistake: a variable counts only when the script binds its name to references and to nothing else.

use std::collections::BTreeMap;

use rhai::{ASTNode, Expr, Position, Stmt};

use super::program::Script;
use crate::diagnostic::{Code, Diagnostic};
use crate::pipedrive::Kind;

/// The functions of a kind that answer with a reference.
const MAKERS: [&str; 5] = ["upsert", "create", "update", "merge", "convert"];

/// What is wrong with the switches of a script.
pub(super) fn over_references(script: &Script) -> Vec<Diagnostic> {
    let (mut bound, mut switches) = (BTreeMap::<String, bool>::new(), Vec::<(String, bool, Position)>::new());
    let mut bind = |name: &str, reference: bool| {
        bound.entry(name.to_owned()).and_modify(|all| *all &= reference).or_insert(reference);
    };
    for function in script.ast.iter_functions() {
        function.params.iter().for_each(|name| bind(name, false));
    }
    script.ast.walk(&mut |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(var, ..))) => bind(&var.0.name, makes_reference(&var.1)),
            Some(ASTNode::Stmt(Stmt::Assignment(assigned))) => {
                if let Some(name) = variable(&assigned.1.lhs) {
                    bind(name, makes_reference(&assigned.1.rhs));
                }
            }
            Some(ASTNode::Stmt(Stmt::For(each, _))) => {
                bind(&each.0.name, false);
                each.1.iter().for_each(|counter| bind(&counter.name, false));
            }
            Some(ASTNode::Stmt(Stmt::Switch(switch, position))) => {
                let name = variable(&switch.0).unwrap_or_default().to_owned();
                switches.push((name, makes_reference(&switch.0), *position));
            }
            _ => {}
        }
        true
    });
    let wrong = switches.into_iter().filter(|(name, makes, _)| *makes || bound.get(name).is_some_and(|all| *all));
    wrong.map(|(.., position)| script.place(problem(), position)).collect()
}

fn variable(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Variable(variable, ..) => Some(&variable.1),
        _ => None,
    }
}

fn makes_reference(expr: &Expr) -> bool {
    let Expr::FnCall(call, _) = expr else { return false };
    let module = call.namespace.path.first().filter(|_| call.namespace.path.len() == 1);
    module.is_some_and(|module| Kind::parse(&module.name).is_some()) && MAKERS.contains(&call.name.as_str())
}

fn problem() -> Diagnostic {
    Diagnostic::error("cannot switch on a reference: the id of what it stands for is known only when the plan is carried out")
        .code(Code::SwitchOverReference)
        .help("give the reference itself to a later action, or read the entity first with `find(..)`")
}
