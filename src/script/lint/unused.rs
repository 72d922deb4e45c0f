//! Functions that no script calls.
//!
//! Invariant: no false alarms: a name that stands anywhere else in the scripts, be it in a text, counts as a use.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic};
use crate::script::outline::{self, Outline};
use crate::script::program::{ENTRY, Program};

/// The functions that nothing uses.
pub(super) fn problems(program: &Program, outlines: &BTreeMap<&str, Outline>) -> Vec<Diagnostic> {
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for script in program.scripts.values() {
        for word in script.text.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
            *words.entry(word).or_default() += 1;
        }
    }
    let mut found = Vec::new();
    for (file, outline) in outlines {
        let script = &program.scripts[*file];
        for function in outline.functions.iter().filter(|f| !f.is_closure() && f.name != ENTRY) {
            let name = function.name.as_str();
            let defined = outlines.values().flat_map(|o| &o.functions).filter(|f| f.name == name).count();
            if words.get(name).copied().unwrap_or_default() > defined {
                continue;
            }
            let Some(at) = function.header(&script.text).and_then(|header| outline::word_in(&script.text, header, name)) else {
                continue;
            };
            let message = match function.private {
                true => format!("nothing calls the private function `{name}`"),
                false => format!("no script calls the function `{name}`"),
            };
            let d = Diagnostic::warning(message).code(Code::UnusedFunction).help("delete it, or call it");
            found.push(d.at_span(&script.file, &script.text, at));
        }
    }
    found
}
