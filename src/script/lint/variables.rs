//! Variables, constants, parameters and imports that nothing reads, and variables that hide others.
//!
//! Invariants: names follow the interpreter's scopes: blocks end them, functions see none from outside, closures see all. Names that
//! begin with `_` may be unused; so may the event of a rule's `handle`, and a closure's parameter before one that is read.

use std::collections::BTreeSet;
use std::ops::Range;

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Position, Stmt, StmtBlock};

use crate::diagnostic::{Code, Diagnostic};
use crate::script::host::CLEAR;
use crate::script::outline::{self, Function, Outline};
use crate::script::program::{ENTRY, Script};

/// Findings that are looked for in one script.
const MOST: usize = 500;

/// What is wrong with the names of a script.
pub(super) fn problems(script: &Script, outline: &Outline) -> Vec<Diagnostic> {
    let mut walk = Walk { script, outline, bound: Vec::new(), qualified: qualified(script), found: Vec::new() };
    walk.scope(|walk| {
        for statement in &outline.top {
            walk.statement(statement, true);
        }
    });
    for function in outline.functions.iter().filter(|function| !function.is_closure()) {
        walk.function(function);
    }
    walk.found
}

/// Names before `::`, and names behind `global::`.
fn qualified(script: &Script) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    script.ast.walk(&mut |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Expr(Expr::Variable(x, ..))) if !x.2.path.is_empty() => {
                names.extend(x.2.path.iter().map(|part| part.name.to_string()));
                names.insert(format!("global::{}", x.1));
            }
            Some(ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) => {
                names.extend(call.namespace.path.iter().map(|part| part.name.to_string()))
            }
            _ => {}
        }
        true
    });
    names
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Variable,
    Constant,
    Parameter,
    Closure,
    Caught,
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Variable | Self::Caught => "variable",
            Self::Constant => "constant",
            Self::Parameter | Self::Closure => "parameter",
        }
    }
}

/// A name in scope.
struct Bound {
    name: String,
    at: Range<usize>,
    what: What,
    reads: usize,
    assigned: bool,
    /// May be unused.
    free: bool,
}

struct Walk<'a> {
    script: &'a Script,
    outline: &'a Outline,
    bound: Vec<Bound>,
    qualified: BTreeSet<String>,
    found: Vec<Diagnostic>,
}

impl Walk<'_> {
    /// Runs it, and reports what it bound and nothing read.
    fn scope(&mut self, inside: impl FnOnce(&mut Self)) {
        let start = self.bound.len();
        inside(self);
        let ended: Vec<Bound> = self.bound.drain(start..).collect();
        for (place, bound) in ended.iter().enumerate() {
            let later_read =
                bound.what == What::Closure && ended[place + 1..].iter().any(|b| b.what == What::Closure && b.reads > 0);
            if bound.reads == 0 && !bound.free && !later_read && !bound.name.starts_with('_') {
                self.unused(bound);
            }
        }
    }

    fn unused(&mut self, bound: &Bound) {
        let (name, word) = (&bound.name, bound.what.word());
        let d = match bound.what {
            What::Variable if bound.assigned => Diagnostic::warning(format!("the variable `{name}` is set and never read")),
            _ => Diagnostic::warning(format!("the {word} `{name}` is never used")),
        };
        let help = match bound.what {
            What::Caught => "write `catch { .. }`".to_owned(),
            What::Parameter | What::Closure => format!("delete it, or call it `_{name}` to say that it is there for its place"),
            _ => format!("delete it, or call it `_{name}` to keep it"),
        };
        self.say(d.code(Code::UnusedName).help(help), bound.at.clone());
    }

    fn say(&mut self, problem: Diagnostic, at: Range<usize>) {
        if self.found.len() >= MOST {
            return;
        }
        self.found.push(problem.at_span(&self.script.file, &self.script.text, at));
    }

    /// Where a name of some length stands.
    fn span(&self, position: Position, name: &str) -> Range<usize> {
        let start = outline::offset(&self.script.text, position).unwrap_or_default();
        start..start + name.len()
    }

    fn bind(&mut self, name: &str, at: Range<usize>, what: What, free: bool) {
        self.bound.push(Bound { name: name.to_owned(), at, what, reads: 0, assigned: false, free });
    }

    /// The variable that a name means here.
    fn means(&mut self, name: &str) -> Option<&mut Bound> {
        self.bound.iter_mut().rev().find(|bound| bound.name == name)
    }

    fn read(&mut self, name: &str) {
        if let Some(bound) = self.means(name) {
            bound.reads += 1;
        }
    }

    fn shadows(&mut self, name: &str, at: &Range<usize>) {
        if self.found.len() >= MOST {
            return;
        }
        let Some(hidden) = self.means(name).map(|bound| bound.at.clone()) else { return };
        let line = self.script.text[..hidden.start].matches('\n').count() + 1;
        let d = Diagnostic::warning(format!("`{name}` hides the `{name}` of line {line}"))
            .code(Code::Shadowed)
            .help("give it another name; to change the value of the other one, leave out `let`");
        self.say(d, at.clone());
    }

    fn function(&mut self, function: &Function) {
        let header = function.header(&self.script.text).unwrap_or(0..0);
        self.scope(|walk| {
            for name in &function.params {
                let at = outline::word_in(&walk.script.text, behind_name(&header, &function.name), name);
                // Where the header cannot be found there is nothing to point at.
                let free = at.is_none() || function.name == ENTRY;
                walk.bind(name, at.unwrap_or(0..0), What::Parameter, free);
            }
            walk.statements(&function.body);
        });
    }

    /// A closure where it is written: it sees the variables around it.
    fn closure(&mut self, name: &str, captured: usize, position: Position) {
        let outline = self.outline;
        let Some(closure) = outline.closure(name) else { return };
        let text = &self.script.text;
        let start = outline::offset(text, position).unwrap_or_default();
        // From one `|` to the other.
        let bar = text[start..].find('|').map_or(start, |at| start + at + 1);
        let list = bar..text[bar..].find('|').map_or(bar, |at| bar + at);
        self.scope(|walk| {
            for name in closure.params.iter().skip(captured) {
                let at = outline::word_in(&walk.script.text, list.clone(), name);
                if let Some(at) = &at {
                    walk.shadows(name, at);
                }
                walk.bind(name, at.clone().unwrap_or(0..0), What::Closure, at.is_none());
            }
            walk.statements(&closure.body);
        });
    }

    fn statements(&mut self, statements: &[Stmt]) {
        for statement in statements {
            self.statement(statement, false);
        }
    }

    fn block(&mut self, block: &StmtBlock) {
        self.scope(|walk| walk.statements(block.statements()));
    }

    fn statement(&mut self, statement: &Stmt, top: bool) {
        match statement {
            Stmt::Var(x, flags, _) => {
                let (ident, value, _) = &**x;
                let name = ident.name.as_str();
                let before = self.means(name).map_or(0, |bound| bound.reads);
                self.expr(value);
                let at = self.span(ident.pos, name);
                // `let name = name.trim()` goes on with the same thing.
                if self.means(name).is_some_and(|bound| bound.reads == before) {
                    self.shadows(name, &at);
                }
                let what = if flags.contains(ASTFlags::CONSTANT) { What::Constant } else { What::Variable };
                let seen = flags.contains(ASTFlags::EXPORTED) || top && self.qualified.contains(&format!("global::{name}"));
                self.bind(name, at, what, seen);
            }
            Stmt::For(x, _) => {
                let (item, counter, flow) = &**x;
                self.expr(&flow.expr);
                self.scope(|walk| {
                    for ident in std::iter::once(item).chain(counter) {
                        let at = walk.span(ident.pos, &ident.name);
                        walk.shadows(&ident.name, &at);
                        walk.bind(&ident.name, at, What::Variable, false);
                    }
                    walk.block(&flow.body);
                });
            }
            Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, ..) => {
                self.expr(&flow.expr);
                self.block(&flow.body);
                self.block(&flow.branch);
            }
            Stmt::TryCatch(flow, _) => {
                self.block(&flow.body);
                self.scope(|walk| {
                    if let Expr::Variable(x, _, position) = &flow.expr {
                        let at = walk.span(*position, &x.1);
                        walk.shadows(&x.1, &at);
                        walk.bind(&x.1, at, What::Caught, false);
                    }
                    walk.statements(flow.branch.statements());
                });
            }
            Stmt::Switch(x, _) => {
                self.expr(&x.0);
                for arm in &x.1.expressions {
                    self.expr(&arm.lhs);
                    self.expr(&arm.rhs);
                }
            }
            Stmt::Assignment(x) => {
                match &x.1.lhs {
                    Expr::Variable(variable, ..) if !x.0.is_op_assignment() => {
                        if let Some(bound) = self.means(&variable.1) {
                            bound.assigned = true;
                        }
                    }
                    target => self.expr(target),
                }
                self.expr(&x.1.rhs);
            }
            Stmt::FnCall(call, _) => self.call(call),
            Stmt::Block(block) => self.block(block),
            Stmt::Expr(expr) => self.expr(expr),
            Stmt::BreakLoop(Some(expr), ..) | Stmt::Return(Some(expr), ..) => self.expr(expr),
            Stmt::Import(x, position) => self.import(&x.1.name, *position),
            Stmt::Export(x, _) => self.read(&x.0.name),
            _ => {}
        }
    }

    fn import(&mut self, alias: &str, position: Position) {
        if alias.is_empty() || alias.starts_with('_') || self.qualified.contains(alias) {
            return;
        }
        let start = outline::offset(&self.script.text, position).unwrap_or_default();
        let end = self.script.text[start..].find(';').map_or(start, |at| start + at);
        let d = Diagnostic::warning(format!("the import `{alias}` is never used")).code(Code::UnusedName).help("delete it");
        self.say(d, start..end);
    }

    fn call(&mut self, call: &FnCallExpr) {
        // What the parser makes of a closure that captures: the closure, then what it captures.
        if call.name == "curry"
            && let [closure @ Expr::DynamicConstant(..), captured @ ..] = call.args.as_slice()
        {
            return self.function_value(closure, captured.len());
        }
        call.args.iter().for_each(|argument| self.expr(argument));
    }

    fn function_value(&mut self, value: &Expr, captured: usize) {
        if let Expr::DynamicConstant(value, position) = value
            && let Some(function) = value.read_lock::<rhai::FnPtr>()
        {
            self.closure(function.fn_name(), captured, *position);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Variable(x, ..) if x.2.path.is_empty() && x.1 != CLEAR => self.read(&x.1),
            Expr::DynamicConstant(..) => self.function_value(expr, 0),
            Expr::InterpolatedString(items, _) | Expr::Array(items, _) => items.iter().for_each(|item| self.expr(item)),
            Expr::Map(x, _) => x.0.iter().for_each(|(_, value)| self.expr(value)),
            Expr::Stmt(block) => self.block(block),
            Expr::FnCall(call, _) | Expr::MethodCall(call, _) => self.call(call),
            Expr::Dot(x, ..) | Expr::Index(x, ..) => {
                self.expr(&x.lhs);
                self.expr(&x.rhs);
            }
            Expr::And(items, _) | Expr::Or(items, _) | Expr::Coalesce(items, _) => {
                items.iter().for_each(|item| self.expr(item));
            }
            Expr::Custom(custom, _) => custom.inputs.iter().for_each(|input| self.expr(input)),
            _ => {}
        }
    }
}

/// The part of a function's header behind its name.
fn behind_name(header: &Range<usize>, name: &str) -> Range<usize> {
    (header.start + "fn ".len() + name.len()).min(header.end)..header.end
}
