//! Functions with a successor: host functions whose documentation has a line `Deprecated: ...`, and builtins of the interpreter that
//! this page names.

use super::Lint;
use crate::diagnostic::{Code, Diagnostic};
use crate::script::calls::Call;

/// What a line of a function's documentation begins with when the function has a successor.
pub(in crate::script) const MARK: &str = "Deprecated:";

/// Builtins that work, and have something better here.
const BUILTINS: &[(&str, &str)] =
    &[("debug", "write `log::info(value)`: it has a level, and maps and lists are written as JSON in the delivery's record")];

impl Lint<'_> {
    /// A call of a function with a successor.
    pub(super) fn deprecated(&self, call: Call<'_>) -> Option<Diagnostic> {
        let name = call.expr.name.as_str();
        let name = match call.module() {
            _ if call.is_nested() => return None,
            Some(module) if self.script.imports.iter().any(|import| import.alias == module) => return None,
            Some(module) => format!("{module}::{name}"),
            None if self.own.contains_key(name) => return None,
            None => name.to_owned(),
        };
        let builtin = BUILTINS.iter().find(|(builtin, _)| *builtin == name).map(|(_, instead)| *instead);
        let instead = self.known.deprecated(&name).or(builtin)?;
        Some(Diagnostic::warning(format!("`{name}` is deprecated")).code(Code::Deprecated).help(instead))
    }
}
