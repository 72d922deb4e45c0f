//! Reads inside loops: each one suspends the run, asks Pipedrive, and runs the script again from its start.
//!
//! Invariants: a read counts as repeated in the body of a loop, in a closure that a builtin calls for each item, and in a function
//! that is called there, also through imports. Loops over a list that is written out are short, and are left alone.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt};

use crate::diagnostic::{Code, Diagnostic};
use crate::pipedrive::Kind;
use crate::script::closures::{call, takes_closures};
use crate::script::outline::{self, Outline};
use crate::script::program::{Program, Script};

/// A function of a script: file, name and number of arguments.
type Named = (String, String, usize);

/// The reads inside loops of all scripts.
pub(super) fn problems(program: &Program, outlines: &BTreeMap<&str, Outline>) -> Vec<Diagnostic> {
    let reading = reading(program, outlines);
    let mut found = Vec::new();
    for (file, outline) in outlines {
        let script = &program.scripts[*file];
        let looped = called_for_each(outline);
        let bodies =
            std::iter::once((None, &outline.top)).chain(outline.functions.iter().map(|f| (Some(f.name.as_str()), &f.body)));
        for (name, body) in bodies {
            let repeated = name.is_some_and(|name| looped.contains(name));
            outline::walk(body, &mut |path| {
                let Some((node, position)) = call(path.last()) else { return };
                if !(repeated || in_loop(path)) {
                    return;
                }
                let what = if is_read(node) {
                    format!("`{}` reads from Pipedrive in each pass of a loop", written(node))
                } else if callee(script, node, arguments(path, node)).is_some_and(|callee| reading.contains(&callee)) {
                    format!("`{}` reads from Pipedrive, and is called in each pass of a loop", written(node))
                } else {
                    return;
                };
                found.push(problem(script, what, position));
            });
        }
    }
    found
}

fn problem(script: &Script, what: String, position: Position) -> Diagnostic {
    let d = Diagnostic::warning(what)
        .code(Code::ReadInLoop)
        .note("each read is a request, and the script runs again from its start with every answer; `max_reads` bounds them")
        .help("read once before the loop, or give all criteria to one `find`, as in `person::find([#{ .. }, #{ .. }])`");
    script.place(d, position)
}

fn written(call: &FnCallExpr) -> String {
    match call.namespace.path.first() {
        Some(module) => format!("{}::{}", module.name, call.name),
        None => call.name.to_string(),
    }
}

fn is_read(call: &FnCallExpr) -> bool {
    let [module] = call.namespace.path.as_slice() else { return false };
    match call.name.as_str() {
        "find" | "get" => Kind::parse(&module.name).is_some(),
        "request" => {
            module.name == "pipedrive"
                && matches!(call.args.first(), Some(Expr::StringConstant(method, _)) if method.eq_ignore_ascii_case("GET"))
        }
        _ => false,
    }
}

/// How many arguments the function gets: a method gets one more.
fn arguments(path: &[ASTNode<'_>], call: &FnCallExpr) -> usize {
    call.args.len() + usize::from(matches!(path.last(), Some(ASTNode::Expr(Expr::MethodCall(..)))))
}

/// The script's function that a call means.
fn callee(script: &Script, call: &FnCallExpr, arguments: usize) -> Option<Named> {
    let file = match call.namespace.path.first() {
        None => script.file.to_string(),
        Some(module) => script.imports.iter().find(|import| import.alias == module.name)?.file.clone(),
    };
    Some((file, call.name.to_string(), arguments))
}

/// The functions that read, by themselves or through others.
fn reading(program: &Program, outlines: &BTreeMap<&str, Outline>) -> BTreeSet<Named> {
    let mut reading = BTreeSet::new();
    let mut calls: Vec<(Named, Named)> = Vec::new();
    for (file, outline) in outlines {
        let script = &program.scripts[*file];
        for function in &outline.functions {
            let own = ((*file).to_owned(), function.name.clone(), function.params.len());
            outline::walk(&function.body, &mut |path| {
                if let Some((node, _)) = call(path.last()) {
                    if is_read(node) {
                        reading.insert(own.clone());
                    } else if let Some(callee) = callee(script, node, arguments(path, node)) {
                        calls.push((own.clone(), callee));
                    }
                }
                if let Some(name) = closure(path.last())
                    && let Some(closure) = outline.closure(&name)
                {
                    calls.push((own.clone(), ((*file).to_owned(), name, closure.params.len())));
                }
            });
        }
    }
    loop {
        let before = reading.len();
        let more: Vec<Named> = calls.iter().filter(|(_, callee)| reading.contains(callee)).map(|(own, _)| own.clone()).collect();
        reading.extend(more);
        if reading.len() == before {
            return reading;
        }
    }
}

/// The name of the function that a node stands for.
fn closure(node: Option<&ASTNode<'_>>) -> Option<String> {
    let Some(ASTNode::Expr(Expr::DynamicConstant(value, _))) = node else { return None };
    value.read_lock::<rhai::FnPtr>().map(|function| function.fn_name().to_owned())
}

/// Whether a node is run once for each item or pass.
fn in_loop(path: &[ASTNode<'_>]) -> bool {
    path.windows(2).any(|pair| match pair {
        [ASTNode::Stmt(Stmt::While(..) | Stmt::Do(..)), _] => true,
        // The list is made once.
        [ASTNode::Stmt(Stmt::For(x, _)), ASTNode::Stmt(_)] => !is_written_out(&x.2.expr),
        _ => false,
    })
}

fn is_written_out(list: &Expr) -> bool {
    matches!(list, Expr::Array(..)) || matches!(list, Expr::DynamicConstant(value, _) if value.is_array())
}

/// Closures that a builtin calls for each item of a list that is not written out.
fn called_for_each(outline: &Outline) -> BTreeSet<String> {
    let own: BTreeSet<&str> = outline.functions.iter().map(|f| f.name.as_str()).collect();
    let mut looped = BTreeSet::new();
    let bodies = std::iter::once(&outline.top).chain(outline.functions.iter().map(|f| &f.body));
    for body in bodies {
        outline::walk(body, &mut |path| {
            let Some(name) = closure(path.last()) else { return };
            // A closure that captures stands within a block and the call that captures.
            let Some(user) = path.iter().rev().skip(1).take(4).position(|node| takes_closures(node, &own)) else { return };
            let user = path.len() - 2 - user;
            let receiver = match path.get(user.wrapping_sub(1)) {
                Some(ASTNode::Expr(Expr::Dot(x, ..))) if matches!(path[user], ASTNode::Expr(Expr::MethodCall(..))) => {
                    Some(&x.lhs)
                }
                _ => call(path.get(user)).and_then(|(call, _)| call.args.first()),
            };
            if !receiver.is_some_and(is_written_out) {
                looped.insert(name);
            }
        });
    }
    looped
}
