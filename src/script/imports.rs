//! `import "lib/names" as names;` between scripts: literal paths within `scripts/`, no cycles.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::program::Script;
use super::sources::Sources;
use crate::diagnostic::{Code, Diagnostic, did_you_mean};

/// Extension of scripts; may be left out in imports.
pub(super) const EXTENSION: &str = ".rhai";

/// One import statement.
#[derive(Debug, Clone)]
pub(super) struct Import {
    /// Path as written; empty when it is not a literal.
    pub path: String,
    /// The file that it names.
    pub file: String,
    /// Name under which the script has it.
    pub alias: String,
    /// Where.
    pub position: Position,
}

/// The imports of a script.
pub(super) fn of(ast: &AST) -> Vec<Import> {
    let mut found = Vec::new();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last() {
            let (expr, alias) = &**import;
            let path = match expr {
                Expr::StringConstant(text, _) => text.to_string(),
                _ => String::new(),
            };
            found.push(Import { file: file_of(&path), path, alias: alias.name.to_string(), position: expr.start_position() });
        }
        true
    });
    found
}

fn file_of(path: &str) -> String {
    if path.ends_with(EXTENSION) { path.to_owned() } else { format!("{path}{EXTENSION}") }
}

/// Imports that name no script.
pub(super) fn problems(script: &Script, sources: &Sources) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for import in &script.imports {
        let problem = if import.path.is_empty() {
            Diagnostic::error("the path of an import is a text between quotes: scripts are put together when they are loaded")
        } else if !sources.scripts.contains_key(&import.file) {
            let names = sources.scripts.keys().map(|k| k.strip_suffix(EXTENSION).unwrap_or(k));
            let wanted = import.file.strip_suffix(EXTENSION).unwrap_or(&import.file);
            let help = did_you_mean(wanted, names).map_or_else(
                || "paths are relative to scripts/, as in `import \"lib/names\" as names;`".to_owned(),
                |near| format!("did you mean \"{near}\"?"),
            );
            Diagnostic::error(format!("there is no script {} to import", import.file)).help(help)
        } else {
            continue;
        };
        problems.push(place(problem, script, import));
    }
    problems
}

fn place(problem: Diagnostic, script: &Script, import: &Import) -> Diagnostic {
    let line = import.position.line().unwrap_or(1);
    let column = import.position.position().unwrap_or(1);
    problem.code(Code::Import).at(&script.file, &script.text, line, column, import.path.chars().count() + 2)
}

/// The scripts, each after those that it imports.
pub(super) fn order(scripts: &BTreeMap<String, Script>) -> Result<Vec<String>, Vec<Diagnostic>> {
    let mut walk = Walk { scripts, done: Vec::new(), path: Vec::new(), cycles: Vec::new() };
    for file in scripts.keys() {
        walk.visit(file);
    }
    if walk.cycles.is_empty() { Ok(walk.done) } else { Err(walk.cycles) }
}

struct Walk<'a> {
    scripts: &'a BTreeMap<String, Script>,
    done: Vec<String>,
    path: Vec<String>,
    cycles: Vec<Diagnostic>,
}

impl Walk<'_> {
    fn visit(&mut self, file: &str) {
        if self.done.iter().any(|d| d == file) {
            return;
        }
        let script = &self.scripts[file];
        self.path.push(file.to_owned());
        for import in &script.imports {
            match self.path.iter().position(|p| *p == import.file) {
                Some(start) => {
                    let mut ring = self.path[start..].to_vec();
                    ring.push(import.file.clone());
                    let problem = Diagnostic::error(format!("cyclic import: {}", ring.join(" -> ")))
                        .help("move what both need into a file of its own");
                    self.cycles.push(place(problem, script, import));
                }
                None if self.scripts.contains_key(&import.file) => self.visit(&import.file.clone()),
                None => {}
            }
        }
        self.path.pop();
        self.done.push(file.to_owned());
    }
}
