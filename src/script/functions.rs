//! Functions as values: where they may end up.
//!
//! Invariants: no map holds a function under the name of a builtin that takes closures. A map's function is called before a builtin of
//! its name, and one that got a closure with captured variables could keep it, which is what [`super::closures`] rules out. A script
//! that uses its functions where they stand, or by the name of a variable, is under no further rule. In one that hands them around (into
//! maps, lists, arguments, results), what is put under such a name, or under a computed one, must be seen to be no function.

use std::collections::BTreeSet;
use std::ptr;

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::closures::{call, is_builtin, is_function, statement, takes_closures};
use super::program::{ENTRY, Script};
use crate::diagnostic::{Code, Diagnostic};

/// Whether the script hands functions around, so that a value may be one without looking like one.
pub(super) fn hands_around(script: &Script) -> bool {
    let own = own_functions(script);
    let holders = holders(script);
    let mut free = false;
    script.ast.walk(&mut |path: &[ASTNode<'_>]| {
        free |= match path {
            [.., ASTNode::Expr(value)] if is_function_of(value, &holders) => is_free(path, value, &own),
            [.., ASTNode::Stmt(Stmt::Export(names, _))] => holders.contains(names.0.name.as_str()),
            _ => false,
        };
        !free
    });
    free
}

fn own_functions(script: &Script) -> BTreeSet<&str> {
    script.ast.iter_functions().map(|f| f.name).collect()
}

/// Variables that are bound to a function somewhere.
fn holders(script: &Script) -> BTreeSet<String> {
    let mut holders = BTreeSet::new();
    loop {
        let before = holders.len();
        each_binding(script, &mut |name, value| {
            if let Bound::To(value) = value
                && is_function_of(value, &holders)
            {
                holders.insert(name.to_owned());
            }
        });
        if holders.len() == before {
            return holders;
        }
    }
}

fn is_function_of(value: &Expr, holders: &BTreeSet<String>) -> bool {
    is_function(value) || matches!(value, Expr::Variable(x, ..) if holders.contains(x.1.as_str()))
}

/// Whether a function at the end of the path goes where its name is lost.
fn is_free(path: &[ASTNode<'_>], value: &Expr, own: &BTreeSet<&str>) -> bool {
    let Some(user) = path.iter().rev().nth(1) else { return true };
    match user {
        ASTNode::Stmt(Stmt::Var(..)) => false,
        ASTNode::Stmt(Stmt::Assignment(x)) => !matches!(x.1.lhs, Expr::Variable(..)),
        ASTNode::Expr(Expr::Dot(x, ..)) if ptr::eq(&raw const x.lhs, value) => !matches!(x.rhs, Expr::MethodCall(..)),
        user if takes_closures(user, own) => false,
        user => !call(Some(user)).is_some_and(|(call, _)| {
            call.name == "call"
                && matches!(user, ASTNode::Expr(Expr::FnCall(..)))
                && call.args.first().is_some_and(|f| ptr::eq(f, value))
        }),
    }
}

/// What a name is bound to.
enum Bound<'a> {
    To(&'a Expr),
    /// The elements of it.
    ElementOf(&'a Expr),
    /// What a caller gives.
    Given,
}

/// Calls `visit` for every binding of a variable: `let`, assignments, loops, parameters, and calls that may put something into it.
fn each_binding(script: &Script, visit: &mut dyn FnMut(&str, Bound<'_>)) {
    let own = own_functions(script);
    for function in script.ast.iter_functions().filter(|f| f.name != ENTRY) {
        function.params.iter().for_each(|name| visit(name, Bound::Given));
    }
    script.ast.walk(&mut |path: &[ASTNode<'_>]| {
        match statement(path, 0) {
            Some(Stmt::Var(x, ..)) => visit(x.0.name.as_str(), Bound::To(&x.1)),
            Some(Stmt::For(x, ..)) => visit(x.0.name.as_str(), Bound::ElementOf(&x.2.expr)),
            Some(Stmt::Assignment(x)) => {
                if let Some(name) = root(&x.1.lhs) {
                    visit(name, Bound::To(&x.1.rhs));
                }
            }
            _ => {}
        }
        let mut called = |target: &Expr, call: &FnCallExpr, given: &[Expr]| {
            let Some(name) = root(target) else { return };
            match own.contains(call.name.as_str()) {
                true => visit(name, Bound::Given),
                false if is_builtin(&call.name) => {}
                false => given.iter().for_each(|given| visit(name, Bound::To(given))),
            }
        };
        match path.last() {
            Some(ASTNode::Expr(chain @ (Expr::Dot(x, ..) | Expr::Index(x, ..)))) => {
                each_method(chain, &mut |call| called(&x.lhs, call, &call.args));
            }
            Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) if !call.is_operator_call() => {
                if let [target, given @ ..] = call.args.as_slice() {
                    called(target, call, given);
                }
            }
            _ => {}
        }
        true
    });
}

/// The method calls of a chain, but not those within its arguments and indexes.
fn each_method(chain: &Expr, visit: &mut dyn FnMut(&FnCallExpr)) {
    match chain {
        Expr::MethodCall(call, _) => visit(call),
        Expr::Dot(x, ..) => each_method(&x.rhs, visit),
        Expr::Index(x, flags, _) if !flags.contains(ASTFlags::BREAK) => each_method(&x.rhs, visit),
        _ => {}
    }
}

/// The variable that a chain of properties begins with.
fn root(target: &Expr) -> Option<&str> {
    match target {
        Expr::Variable(x, ..) => Some(x.1.as_str()),
        Expr::Dot(x, ..) | Expr::Index(x, ..) => root(&x.lhs),
        _ => None,
    }
}

/// Variables that hold no function, however deep, in a script that hands functions around.
fn plain_names(script: &Script) -> BTreeSet<String> {
    let own = own_functions(script);
    let mut plain = BTreeSet::new();
    script
        .ast
        .iter_functions()
        .filter(|f| f.name == ENTRY)
        .for_each(|f| plain.extend(f.params.iter().map(|name| (*name).to_owned())));
    each_binding(script, &mut |name, _| {
        plain.insert(name.to_owned());
    });
    loop {
        let mut not = BTreeSet::new();
        each_binding(script, &mut |name, bound| {
            let is = match bound {
                Bound::To(value) | Bound::ElementOf(value) => is_plain(value, &plain, &own),
                Bound::Given => false,
            };
            if !is {
                not.insert(name.to_owned());
            }
        });
        let before = plain.len();
        plain.retain(|name| !not.contains(name));
        if plain.len() == before {
            return plain;
        }
    }
}

/// Whether a value is seen to be, and to hold, no function.
fn is_plain(value: &Expr, plain: &BTreeSet<String>, own: &BTreeSet<&str>) -> bool {
    let is = |value: &Expr| is_plain(value, plain, own);
    match value {
        Expr::DynamicConstant(value, _) => !value.is_fnptr() && !value.is_array() && !value.is_map(),
        Expr::BoolConstant(..)
        | Expr::IntegerConstant(..)
        | Expr::FloatConstant(..)
        | Expr::CharConstant(..)
        | Expr::StringConstant(..)
        | Expr::InterpolatedString(..)
        | Expr::Property(..)
        | Expr::And(..)
        | Expr::Or(..)
        | Expr::Unit(_) => true,
        Expr::Variable(x, ..) => x.2.path.is_empty() && plain.contains(x.1.as_str()),
        Expr::Array(items, _) => items.iter().all(is),
        Expr::Map(fields, _) => fields.0.iter().all(|(_, value)| is(value)),
        Expr::Coalesce(items, _) => items.iter().all(is),
        Expr::Index(x, flags, _) if flags.contains(ASTFlags::BREAK) => is(&x.lhs),
        Expr::Dot(x, ..) | Expr::Index(x, ..) => is(&x.lhs) && is(&x.rhs),
        Expr::MethodCall(call, _) => !own.contains(call.name.as_str()) && call.args.iter().all(is),
        Expr::FnCall(call, _) => call.is_operator_call() && call.args.iter().all(is),
        _ => false,
    }
}

/// Where the script puts a function, or what may be one, under a name that a builtin has or that is computed.
pub(super) fn problems(script: &Script, handed_around: bool) -> Vec<Diagnostic> {
    let (plain, own) = if handed_around { (plain_names(script), own_functions(script)) } else { Default::default() };
    let mut problems = Vec::new();
    let mut judge = |name: Option<&str>, value: &Expr, at: Position| {
        if name.is_some_and(|name| !is_builtin(name)) {
            return;
        }
        let problem = match name {
            Some(name) if is_function(value) => {
                Diagnostic::error(format!("a function in a map cannot be named `{name}`, as a builtin"))
                    .help("give it another name")
            }
            None if is_function(value) => Diagnostic::error("a function cannot be kept under a computed name")
                .help("give it a fixed one, as in `cleaners.name = |text| text.trim()`"),
            _ if !handed_around || is_plain(value, &plain, &own) => return,
            name => {
                let under = name.map_or_else(|| "a computed name".to_owned(), |name| format!("`{name}`, as a builtin is named"));
                Diagnostic::error(format!("what is kept under {under} must be seen to be no function")).help(
                    "this script, or one that it imports or is imported by, hands functions around: call them where they stand or by a \
                     variable (`clean.call(x)`), or keep a text here (`\"\" + value`)",
                )
            }
        };
        problems.push(script.place(problem.code(Code::Kept), at));
    };
    script.ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Expr(Expr::Map(fields, _))) = path.last() {
            fields.0.iter().for_each(|(key, value)| judge(Some(&key.name), value, key.pos));
        }
        if let Some(Stmt::Assignment(x)) = statement(path, 0)
            && let Some((name, at)) = last_property(&x.1.lhs)
        {
            judge(name, &x.1.rhs, at);
        }
        if let Some((found, _)) = call(path.last()).filter(|(call, _)| call.name == "set")
            && let [.., key, value] = found.args.as_slice()
            && is_put(path, found)
        {
            let name = match key {
                Expr::StringConstant(name, _) => Some(name.as_str()),
                _ => None,
            };
            judge(name, value, key.start_position());
        }
        true
    });
    problems
}

/// `map.set(key, value)` or `set(map, key, value)`.
fn is_put(path: &[ASTNode<'_>], call: &FnCallExpr) -> bool {
    let method = matches!(path.last(), Some(ASTNode::Expr(Expr::MethodCall(..))));
    call.namespace.path.is_empty() && call.args.len() == if method { 2 } else { 3 }
}

/// What an assignment puts its value under; `None` within for a name that is computed. A number is no name.
fn last_property(target: &Expr) -> Option<(Option<&str>, Position)> {
    match target {
        Expr::Dot(x, ..) => match &x.rhs {
            Expr::Property(name, at) => Some((Some(name.2.as_str()), *at)),
            rest => last_property(rest),
        },
        Expr::Index(x, flags, _) => match &x.rhs {
            Expr::StringConstant(name, at) => Some((Some(name.as_str()), *at)),
            Expr::IntegerConstant(..) => None,
            rest @ (Expr::Dot(..) | Expr::Index(..)) if !flags.contains(ASTFlags::BREAK) => last_property(rest),
            computed => Some((None, computed.start_position())),
        },
        _ => None,
    }
}
