//! The interpreter, set up once per program.
//!
//! Invariants: no `eval`, no clock, no sleeping, no output but into the run's log; every limit of [`ScriptConfig`] holds;
//! variables are checked when a script is compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Engine, LexError, OptimizationLevel, Scope, Token};

use super::host::table::Table;
use super::host::{self, CLEAR};
use super::run::LogLevel;
use super::state::{self, Hosted, refuse_with};
use crate::config::ScriptConfig;

/// Longest script, in bytes.
pub(super) const MAX_SOURCE: usize = 256 * 1024;
/// Deepest chain of calls.
pub(super) const MAX_CALLS: usize = 64;
/// Deepest expression outside and inside functions.
pub(super) const MAX_EXPR: (usize, usize) = (64, 32);
/// Most variables in scope.
pub(super) const MAX_VARIABLES: usize = 256;
/// Most functions of a script.
pub(super) const MAX_FUNCTIONS: usize = 256;
/// Most imports of a script.
pub(super) const MAX_MODULES: usize = 32;
/// What the tokenizer reports when it is cut short.
pub(super) const PARSE_OVERDUE: &str = "the script takes too long to read";

/// Builds it.
pub(super) fn build(limits: &ScriptConfig, tables: &Arc<BTreeMap<String, Arc<Table>>>) -> Engine {
    let mut engine = Engine::new();
    engine
        // Operations are counted in `state`: the interpreter's own count starts again in every native callback.
        .set_max_operations(0)
        .set_max_call_levels(MAX_CALLS)
        .set_max_expr_depths(MAX_EXPR.0, MAX_EXPR.1)
        .set_max_variables(MAX_VARIABLES)
        .set_max_functions(MAX_FUNCTIONS)
        .set_max_modules(MAX_MODULES)
        .set_max_string_size(limits.max_string)
        .set_max_array_size(limits.max_array)
        .set_max_map_size(limits.max_map)
        .set_strict_variables(true)
        // What is folded loses its positions, and gains nothing here.
        .set_optimization_level(OptimizationLevel::None)
        // The interner is one lock for all threads, and waits for it in steps of 10 ms.
        .set_max_strings_interned(0)
        .disable_symbol("eval");
    engine.on_progress(state::on_progress);
    bound_parsing(&mut engine);
    engine.on_print(|text| state::log(LogLevel::Debug, text, None, None));
    engine.on_debug(|text, source, position| state::log(LogLevel::Debug, text, source, position.line()));
    // These cannot be disabled by name; what is registered later wins.
    engine.register_fn("sleep", |_: i64| forbidden::<()>(&SLEEP));
    engine.register_fn("sleep", |_: f64| forbidden::<()>(&SLEEP));
    engine.register_fn("timestamp", || forbidden::<()>(&TIMESTAMP));
    host::register(&mut engine, tables);
    engine
}

/// Cuts the tokenizer short once parsing takes too long.
#[expect(deprecated, reason = "marked so by the interpreter to say that it may change; the version is pinned")]
fn bound_parsing(engine: &mut Engine) {
    engine.on_parse_token(|token, _, _| {
        if state::parse_overdue() { Token::LexError(LexError::Runtime(PARSE_OVERDUE.to_owned()).into()) } else { token }
    });
}

/// What Rhai has and rules do not.
pub(super) struct Forbidden {
    /// The function.
    pub name: &'static str,
    /// What to do instead.
    pub help: &'static str,
}

const SLEEP: Forbidden = Forbidden { name: "sleep", help: "`retry(reason, seconds)` runs the script again later" };
const TIMESTAMP: Forbidden = Forbidden { name: "timestamp", help: "use `event.timestamp` or `event.receivedAt`" };

/// All of it that can be called by name.
pub(super) const FORBIDDEN: [Forbidden; 2] = [SLEEP, TIMESTAMP];

impl Forbidden {
    /// What happened, and why.
    pub(super) fn message(&self) -> String {
        format!("`{}` does not exist here: a run gives the same result whenever it is repeated", self.name)
    }
}

fn forbidden<T>(what: &Forbidden) -> Hosted<T> {
    Err(refuse_with(what.message(), Some(what.help.to_owned())))
}

/// The constants that strict variables must know when a script is compiled; found in the global module when it runs.
pub(super) fn constants() -> Scope<'static> {
    let mut scope = Scope::new();
    scope.push_constant(CLEAR, ());
    scope
}
