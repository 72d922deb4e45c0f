//! What scripts can call.
//!
//! Invariants: every function carries its documentation in the engine, with an example that runs; no function knows the time,
//! randomness, files or the network; functions with an effect go through `state`, which refuses once a run is stopped.

mod control;
pub(super) mod helpers;
mod kinds;
pub(super) mod options;
pub(super) mod table;
pub(super) mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{
    Dynamic, Engine, EvalAltResult, FuncRegistration, Module, NativeCallContext, Position, RhaiFunc, RhaiNativeFunc, Variant,
};

use super::state::{Refusal, refuse_with};
use super::value::Unfit;

/// Name of the constant that empties a field.
pub(super) const CLEAR: &str = "CLEAR";

/// Registers everything.
pub(super) fn register(engine: &mut Engine, tables: &Arc<BTreeMap<String, Arc<table::Table>>>) {
    let mut global = Module::new();
    global.set_var(CLEAR, Dynamic::from(values::Clear));
    values::register(engine, &mut global);
    control::register(engine, &mut global);
    table::register(engine, &mut global, tables.clone());
    refusals(engine, &mut global);
    engine.register_global_module(global.into());
    kinds::register(engine);
    helpers::register(engine);
}

/// How `catch (e)` sees a refusal: it prints as its message.
fn refusals(engine: &mut Engine, module: &mut Module) {
    engine.register_type_with_name::<Refusal>("Refusal");
    for name in ["to_string", "to_debug"] {
        FuncRegistration::new(name).in_global_namespace().set_into_module(module, |r: &mut Refusal| r.message.clone());
    }
    FuncRegistration::new_getter("message").set_into_module(module, |r: &mut Refusal| r.message.clone());
}

/// Adds a function with its documentation. `params` are the parameters' names, then the type that is returned.
pub(super) fn define<A: 'static, const N: usize, const X: bool, R, const F: bool, FUNC>(
    module: &mut Module,
    name: &str,
    params: &[&str],
    docs: &str,
    function: FUNC,
) where
    R: Variant + Clone,
    FUNC: RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
{
    let comment = docs.trim().lines().map(|line| format!("/// {line}")).collect::<Vec<_>>().join("\n");
    let registration = FuncRegistration::new(name).with_params_info(params).with_comments([comment]);
    registration.set_into_module_raw(module, FUNC::param_types(), placed(function.into_rhai_function(true, false)));
}

/// The interpreter gives errors of functions in modules no place: they stand at the call.
fn placed(function: RhaiFunc) -> RhaiFunc {
    type Result = std::result::Result<Dynamic, Box<EvalAltResult>>;
    type Native = dyn Fn(Option<NativeCallContext<'_>>, &mut [&mut Dynamic]) -> Result + Send + Sync;
    let at_the_call = |inner: Arc<Native>| -> Arc<Native> {
        Arc::new(move |context, arguments| {
            let position = context.as_ref().map_or(Position::NONE, NativeCallContext::call_position);
            inner(context, arguments).map_err(|mut error| {
                if error.position().is_none() {
                    error.set_position(position);
                }
                error
            })
        })
    };
    match function {
        RhaiFunc::Pure { func, is_pure, is_volatile, .. } => {
            RhaiFunc::Pure { func: at_the_call(func), has_context: true, is_pure, is_volatile }
        }
        RhaiFunc::Method { func, is_pure, is_volatile, .. } => {
            RhaiFunc::Method { func: at_the_call(func), has_context: true, is_pure, is_volatile }
        }
        other => other,
    }
}

/// An argument that does not fit, as the error of the function that was given it.
pub(super) fn unfit(function: &str, unfit: Unfit) -> Box<EvalAltResult> {
    refuse_with(format!("`{function}`: {}", unfit.reason), unfit.help)
}
