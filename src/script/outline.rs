//! A script's functions with their bodies, closures among them, as statements of their own.
//!
//! Invariants: a function whose name and number of parameters another one shares (methods of several types) is left out: whose body is
//! whose cannot be told. Closures are functions with a name of the interpreter's; variables that they capture come first among
//! their parameters.

use std::collections::BTreeMap;
use std::ops::Range;

use rhai::{AST, ASTNode, FnAccess, Position, Stmt};

/// What the interpreter's names of closures begin with.
const CLOSURE: &str = "anon$";

/// The statements of a script, by function.
#[derive(Debug)]
pub(super) struct Outline {
    /// Those outside of functions.
    pub top: Vec<Stmt>,
    /// Functions and closures.
    pub functions: Vec<Function>,
}

/// A function or closure.
#[derive(Debug)]
pub(super) struct Function {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<String>,
    /// Its statements.
    pub body: Vec<Stmt>,
    /// Where its body begins, when it has braces.
    pub start: Position,
    /// `private fn`.
    pub private: bool,
}

impl Outline {
    /// Of a script as it was parsed.
    pub(super) fn of(ast: &AST) -> Self {
        let mut known: BTreeMap<(&str, usize), usize> = BTreeMap::new();
        let defined: Vec<_> = ast.shared_lib().iter_script_fn_info().collect();
        for (.., name, params, _) in &defined {
            *known.entry((name, *params)).or_default() += 1;
        }
        let alone = defined.iter().filter(|(.., name, params, _)| known.get(&(*name, *params)) == Some(&1));
        let functions = alone.map(|(_, access, name, params, function)| Function {
            name: (*name).to_owned(),
            params: function.params.iter().map(ToString::to_string).collect(),
            body: body(ast, name, *params),
            start: function.body.start_position(),
            private: *access == FnAccess::Private,
        });
        Self { top: ast.statements().to_vec(), functions: functions.collect() }
    }

    /// A closure by the name that the interpreter gave it.
    pub(super) fn closure(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name && function.is_closure())
    }

    /// Whether the script defines a function of that name.
    pub(super) fn defines(&self, name: &str) -> bool {
        self.functions.iter().any(|function| function.name == name)
    }
}

/// The interpreter shows bodies only as it walks over a tree: this one holds the function alone.
fn body(ast: &AST, name: &str, params: usize) -> Vec<Stmt> {
    let mut body = Vec::new();
    // The interpreter's own way to copy only some of the functions copies all of them.
    let mut alone = ast.clone_functions_only();
    alone.retain_functions(|_, _, other, count| other == name && count == params);
    alone.walk(&mut |path: &[ASTNode<'_>]| {
        if let [ASTNode::Stmt(statement)] = path {
            body.push((*statement).clone());
        }
        true
    });
    body
}

impl Function {
    /// Whether it is a closure.
    pub(super) fn is_closure(&self) -> bool {
        self.name.starts_with(CLOSURE)
    }

    /// The bytes of its header in the script's text, from `fn` to the brace: none for closures.
    pub(super) fn header(&self, text: &str) -> Option<Range<usize>> {
        let end = offset(text, self.start)?;
        let start = text[..end].rfind(&format!("fn {}", self.name))?;
        Some(start..end)
    }
}

/// Calls `visit` for every node below the statements, with the way to it.
pub(super) fn walk(statements: &[Stmt], visit: &mut dyn FnMut(&[ASTNode<'_>])) {
    for statement in statements {
        statement.walk(&mut Vec::new(), &mut |path: &[ASTNode<'_>]| {
            visit(path);
            true
        });
    }
}

/// The byte at which a position of a text begins.
pub(super) fn offset(text: &str, position: Position) -> Option<usize> {
    let (line, column) = (position.line()?, position.position()?);
    let start = text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
    let rest = text.get(start..)?;
    Some(start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at))
}

/// The first place of a word in a part of a text.
pub(super) fn word_in(text: &str, part: Range<usize>, word: &str) -> Option<Range<usize>> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let whole = text.get(part.clone())?;
    let found = whole.match_indices(word).find(|(at, _)| {
        !whole[..*at].chars().next_back().is_some_and(inside) && !whole[at + word.len()..].chars().next().is_some_and(inside)
    });
    found.map(|(at, _)| part.start + at..part.start + at + word.len())
}
