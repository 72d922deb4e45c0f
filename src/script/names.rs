//! The names of fields and options that scripts write as literals: what can be compared with an account before any event.

use rhai::{Expr, FnCallExpr, Position};

use super::calls::{self, Call};
use super::host::options;
use super::program::{Program, Script};
use super::value::CUSTOM;
use crate::diagnostic::{Diagnostic, Place};
use crate::pipedrive::Kind;

/// A field's name that a script writes as a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    /// The kind whose field it is.
    pub kind: Kind,
    /// API name, custom field's name or key.
    pub name: String,
    /// Inside `custom: #{..}`: never an API name.
    pub custom: bool,
    /// What it is used for.
    pub role: NameRole,
    /// Where.
    pub place: Place,
    /// Texts that are given as its value, as literals.
    pub values: Vec<LiteralValue>,
    /// What happens to values that the account does not know, when the call says so as a literal.
    pub on_unknown: Option<String>,
}

/// What a name is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRole {
    /// A criterion.
    Match,
    /// A field that is written.
    Field,
}

/// A text that a script gives as a field's value, as a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiteralValue {
    /// The text.
    pub text: String,
    /// Where.
    pub place: Place,
}

impl Program {
    /// Every field name that the scripts write as a literal in a call of a kind's function, in order of place.
    #[must_use]
    pub fn names_written(&self) -> Vec<NameUse> {
        let mut uses = Vec::new();
        for script in self.scripts.values() {
            calls::each(&script.ast, &mut |call| {
                if let Some(kind) = call.module().filter(|_| !call.is_nested()).and_then(Kind::parse) {
                    let on_unknown = on_unknown(call);
                    Collect { script, on_unknown, uses: &mut uses }.call(kind, call);
                }
            });
        }
        uses.sort_by(|a, b| (&a.place.file, a.place.line, a.place.column).cmp(&(&b.place.file, b.place.line, b.place.column)));
        uses
    }
}

fn on_unknown(call: Call<'_>) -> Option<String> {
    let (index, _) = options::of_call(&call.expr.name, call.expr.args.len())?;
    let Some(Expr::Map(map, _)) = call.arg(index) else { return None };
    map.0.iter().find_map(|(name, value)| match value {
        Expr::StringConstant(word, _) if name.name == "on_unknown" => Some(word.to_string()),
        _ => None,
    })
}

struct Collect<'a> {
    script: &'a Script,
    on_unknown: Option<String>,
    uses: &'a mut Vec<NameUse>,
}

impl Collect<'_> {
    fn call(&mut self, kind: Kind, call: Call<'_>) {
        let name = call.expr.name.as_str();
        let matched: &[usize] = match name {
            "upsert" | "update" | "delete" | "find" | "convert" => &[0],
            "merge" => &[0, 1],
            _ => &[],
        };
        for index in matched {
            self.criteria(kind, call.arg(*index));
        }
        match name {
            "create" => self.fields(kind, call.arg(0), NameRole::Field),
            "upsert" | "update" => self.fields(kind, call.arg(1), NameRole::Field),
            "convert" => self.fields(Kind::Deal, call.arg(1), NameRole::Field),
            _ => {}
        }
        if let Some((index, _)) = options::of_call(name, call.expr.args.len())
            && let Some(Expr::Map(map, _)) = call.arg(index)
        {
            for (_, value) in map.0.iter().filter(|(o, _)| matches!(o.name.as_str(), "on_create" | "if_empty" | "unless_edited"))
            {
                self.fields(kind, Some(value), NameRole::Field);
            }
        }
    }

    fn criteria(&mut self, kind: Kind, expr: Option<&Expr>) {
        match expr {
            Some(Expr::Array(items, _)) => {
                for item in items.iter() {
                    self.fields(kind, Some(item), NameRole::Match);
                }
            }
            other => self.fields(kind, other, NameRole::Match),
        }
    }

    fn fields(&mut self, kind: Kind, expr: Option<&Expr>, role: NameRole) {
        let Some(Expr::Map(map, _)) = expr else { return };
        for (name, value) in &map.0 {
            match value {
                Expr::Map(inner, _) if name.name == CUSTOM => {
                    for (name, value) in &inner.0 {
                        self.field(kind, &name.name, name.pos, value, role, true);
                    }
                }
                _ => self.field(kind, &name.name, name.pos, value, role, false),
            }
        }
    }

    fn field(&mut self, kind: Kind, name: &str, position: Position, value: &Expr, role: NameRole, custom: bool) {
        let mut values = Vec::new();
        self.values(value, &mut values);
        if let (Some(linked), Some(by)) = (linked_kind(name), by_call(value)) {
            self.criteria(linked, by.args.first());
        }
        self.uses.push(NameUse {
            kind,
            name: name.to_owned(),
            custom,
            role,
            place: self.place(position),
            values,
            on_unknown: self.on_unknown.clone(),
        });
    }

    /// Texts, also within an array or `add(..)` and its kin.
    fn values(&self, value: &Expr, found: &mut Vec<LiteralValue>) {
        match value {
            Expr::StringConstant(text, position) if !text.is_empty() => {
                found.push(LiteralValue { text: text.to_string(), place: self.place(*position) });
            }
            Expr::Array(items, _) => items.iter().for_each(|item| self.values(item, found)),
            Expr::FnCall(call, _)
                if !call.is_qualified() && matches!(call.name.as_str(), "add" | "remove" | "replace" | "primary") =>
            {
                call.args.iter().for_each(|item| self.values(item, found));
            }
            _ => {}
        }
    }

    fn place(&self, position: Position) -> Place {
        let placed = self.script.place(Diagnostic::error(""), position).place;
        placed.unwrap_or_else(|| Place { file: self.script.file.to_string(), line: 1, column: 1, width: 1, text: String::new() })
    }
}

/// The kind that a link field names.
fn linked_kind(field: &str) -> Option<Kind> {
    match field {
        "person_id" => Some(Kind::Person),
        "org_id" | "organization_id" => Some(Kind::Organization),
        "deal_id" => Some(Kind::Deal),
        "lead_id" => Some(Kind::Lead),
        _ => None,
    }
}

fn by_call(value: &Expr) -> Option<&FnCallExpr> {
    match value {
        Expr::FnCall(call, _) if call.name == "by" && !call.is_qualified() => Some(call),
        _ => None,
    }
}
