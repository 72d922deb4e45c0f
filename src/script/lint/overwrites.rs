//! Writes that put back what people changed, whatever the event says.
//!
//! Invariant: no false alarms: a field counts only when its value is written out in the script, in a call that every event of the rule
//! reaches, before anything that may end the run, outside of `on_create`, `if_empty` and `unless_edited`. Whether it is sent each time is the
//! call's `write` to say, else the rule's: under "changed", the default, a value that never changes is sent once.

use rhai::{ASTNode, Expr, FnCallExpr, Ident, Stmt};

use super::unreachable::ENDING;
use crate::config::WritePolicy;
use crate::diagnostic::{Code, Diagnostic};
use crate::pipedrive::Kind;
use crate::script::closures::call;
use crate::script::host::{CLEAR, options};
use crate::script::outline::{self, Outline};
use crate::script::program::{ENTRY, Program, Script};
use crate::script::value::CUSTOM;

/// A field that a script writes with the same value at every event.
#[derive(Debug)]
pub struct Overwrite {
    field: String,
    /// What the call says about `write`, when it says something.
    pub write: Option<WritePolicy>,
    place: Diagnostic,
}

impl Overwrite {
    /// The warning, when it is written under this policy. `who` says whose policy it is, when it is not the call's.
    #[must_use]
    pub fn diagnostic(self, write: WritePolicy, who: &str) -> Diagnostic {
        let (word, when) = match write {
            WritePolicy::Always => ("always", "sends the field at every event"),
            WritePolicy::Differs | WritePolicy::Changed => ("differs", "sends the field whenever Pipedrive has another value"),
        };
        let message = format!("every event sets `{}` back to what the script says, whatever people changed it to", self.field);
        let mut d = Diagnostic::warning(message)
            .code(Code::UndoesEdits)
            .note(format!("`write: \"{word}\"`{who} {when}, and the value is the same for all events"))
            .help("give it under `on_create`, `if_empty` or `unless_edited`, or write it under \"changed\", the default");
        d.place = self.place.place;
        d
    }
}

impl Program {
    /// The fields that a rule's script writes with the same value at every event.
    #[must_use]
    pub fn overwrites(&self, script: &str) -> Vec<Overwrite> {
        let Some(script) = self.scripts.get(script) else { return Vec::new() };
        let outline = Outline::of(&script.ast);
        let mut found = Vec::new();
        for function in outline.functions.iter().filter(|function| function.name == ENTRY && function.params.len() == 1) {
            for statement in &function.body {
                let mut may_end = false;
                outline::walk(std::slice::from_ref(statement), &mut |path| {
                    may_end |= ends(path.last());
                    if let Some((call, _)) = call(path.last())
                        && path[..path.len() - 1].iter().all(is_passed)
                    {
                        of_call(script, call, &mut found);
                    }
                });
                // Behind it come only those events that it lets through.
                if may_end {
                    break;
                }
            }
        }
        found
    }
}

/// Whether it ends the run, or the function.
fn ends(node: Option<&ASTNode<'_>>) -> bool {
    matches!(node, Some(ASTNode::Stmt(Stmt::Return(..))))
        || call(node).is_some_and(|(call, _)| call.namespace.path.is_empty() && ENDING.contains(&call.name.as_str()))
}

/// Whether whatever stands within is run every time.
fn is_passed(node: &ASTNode<'_>) -> bool {
    !matches!(
        node,
        ASTNode::Stmt(Stmt::If(..) | Stmt::Switch(..) | Stmt::While(..) | Stmt::Do(..) | Stmt::For(..) | Stmt::TryCatch(..))
            | ASTNode::Expr(Expr::And(..) | Expr::Or(..) | Expr::Coalesce(..))
    )
}

fn of_call(script: &Script, call: &FnCallExpr, found: &mut Vec<Overwrite>) {
    let [module] = call.namespace.path.as_slice() else { return };
    if Kind::parse(&module.name).is_none() || !matches!(call.name.as_str(), "upsert" | "update") {
        return;
    }
    let Some(Expr::Map(fields, _)) = call.args.get(1) else { return };
    let write = match call.args.get(2) {
        None => None,
        Some(Expr::Map(options, _)) => match options.0.iter().find(|(name, _)| name.name == "write") {
            None => None,
            Some((_, Expr::StringConstant(word, _))) => match options::write_policy(word) {
                Some(policy) => Some(policy),
                None => return,
            },
            // Computed: not known before it runs.
            Some(_) => return,
        },
        Some(_) => return,
    };
    for (name, value) in &fields.0 {
        match value {
            Expr::Map(inner, _) if name.name == CUSTOM => {
                for (name, value) in &inner.0 {
                    of_field(script, name, value, write, found);
                }
            }
            _ => of_field(script, name, value, write, found),
        }
    }
}

fn of_field(script: &Script, name: &Ident, value: &Expr, write: Option<WritePolicy>, found: &mut Vec<Overwrite>) {
    if is_constant(value) {
        let place = script.place(Diagnostic::error(""), name.pos);
        found.push(Overwrite { field: name.name.to_string(), write, place });
    }
}

/// A value that is written out and is sent: nothing and an empty text leave a field alone.
fn is_constant(value: &Expr) -> bool {
    match value {
        Expr::StringConstant(text, _) => !text.is_empty(),
        other => is_fixed(other),
    }
}

fn is_fixed(value: &Expr) -> bool {
    match value {
        Expr::BoolConstant(..)
        | Expr::IntegerConstant(..)
        | Expr::FloatConstant(..)
        | Expr::CharConstant(..)
        | Expr::StringConstant(..) => true,
        Expr::DynamicConstant(value, _) => !value.is_fnptr(),
        Expr::Variable(x, ..) => x.1 == CLEAR,
        Expr::Array(items, _) => items.iter().all(is_fixed),
        Expr::Map(x, _) => x.0.iter().all(|(_, value)| is_fixed(value)),
        Expr::FnCall(call, _) => {
            let made = matches!(call.name.as_str(), "money" | "add" | "remove" | "replace" | "primary");
            (made && !call.is_qualified() || call.is_operator_call()) && call.args.iter().all(is_fixed)
        }
        _ => false,
    }
}
