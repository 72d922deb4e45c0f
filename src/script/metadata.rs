//! What an engine says of its functions: names, parameters, documentation.
//!
//! Invariants: the one place that reads the interpreter's own listing; whatever shows functions (the page on scripting, definitions for
//! editors, suggestions) starts here. Functions stand in one order in every build: the interpreter lists those of one name in that of
//! hashes, which a compiler makes of types.

use std::collections::BTreeMap;

use rhai::Engine;
use serde::Deserialize;

/// The functions of an engine or of a module.
#[derive(Debug, Deserialize, Default)]
pub(super) struct Listing {
    /// Functions; those of an engine are the global ones.
    #[serde(default)]
    pub functions: Vec<Function>,
    /// Modules by name.
    #[serde(default)]
    pub modules: BTreeMap<String, Self>,
    #[serde(default)]
    doc: String,
}

/// A function with one number of parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Function {
    /// Name.
    pub name: String,
    /// Number of parameters.
    pub num_params: usize,
    /// Parameters, when they are known.
    #[serde(default)]
    pub params: Vec<Param>,
    /// Type that is returned; a word of ours for our own functions.
    #[serde(default)]
    pub return_type: String,
    /// Documentation, as it was registered.
    #[serde(default)]
    pub doc_comments: Vec<String>,
}

/// A parameter.
#[derive(Debug, Deserialize)]
pub(super) struct Param {
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// Type. Of our own functions, only the value that a method is called on has one.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

impl Listing {
    /// What scripts of this engine can call; with `standard`, what the interpreter brings along as well.
    pub(super) fn of(engine: &Engine, standard: bool) -> Self {
        let listing = engine.gen_fn_metadata_to_json(standard).ok().and_then(|json| serde_json::from_str::<Self>(&json).ok());
        let mut listing = listing.unwrap_or_default();
        listing.order();
        listing
    }

    fn order(&mut self) {
        self.functions.sort_by(|a, b| a.order().cmp(&b.order()));
        self.modules.values_mut().for_each(Self::order);
    }

    /// The functions of a module.
    pub(super) fn of_module(&self, name: &str) -> &[Function] {
        self.modules.get(name).map_or(&[], |module| &module.functions)
    }

    /// The documentation of a module, without comment marks.
    pub(super) fn doc(&self, module: &str) -> String {
        self.modules.get(module).map(|m| plain(&m.doc)).unwrap_or_default()
    }
}

impl Function {
    /// By name and number of parameters, then by all that tells two of them apart.
    fn order(&self) -> impl Ord + '_ {
        let params: Vec<(&Option<String>, &Option<String>)> = self.params.iter().map(|p| (&p.name, &p.kind)).collect();
        (&self.name, self.num_params, params, &self.return_type, &self.doc_comments)
    }

    /// Its documentation, without comment marks; empty when it has none.
    pub(super) fn doc(&self) -> String {
        self.doc_comments.iter().map(|comment| plain(comment)).collect::<Vec<_>>().join("\n")
    }

    /// Whether it is called on its first parameter, as in `table.get(key)`.
    pub(super) fn is_method(&self) -> bool {
        self.params.first().is_some_and(|first| first.kind.is_some())
    }
}

/// A doc comment without its slashes.
fn plain(comment: &str) -> String {
    let lines = comment.lines().map(|line| {
        let line = line.trim_start().trim_start_matches("///");
        line.strip_prefix(' ').unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
