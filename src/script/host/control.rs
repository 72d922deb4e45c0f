//! Decisions that end a run, and the log.

use std::time::Duration;

use rhai::{Dynamic, Engine, EvalAltResult, Module, NativeCallContext};

use super::define;
use super::values::{self, Reference};
use crate::lines;
use crate::script::run::LogLevel;
use crate::script::state::{self, Hosted, Stop, refuse};
use crate::script::value::{REFERENCE_INSIDE, to_json, type_word};

/// Longest reason, in bytes.
const MAX_REASON: usize = 500;

/// Registers `skip`, `fail`, `retry` and the module `log`.
pub(super) fn register(engine: &mut Engine, module: &mut Module) {
    type Ended = Result<Dynamic, Box<EvalAltResult>>;
    define(module, "skip", &["reason", "!"], docs::SKIP, |ctx: NativeCallContext<'_>, reason: Dynamic| -> Ended {
        not_a_reference(&reason, "cannot make a reason of")?;
        Err(decide(&ctx, "skip", &reason, Stop::Skip))
    });
    define(module, "fail", &["reason", "!"], docs::FAIL, |ctx: NativeCallContext<'_>, reason: Dynamic| -> Ended {
        not_a_reference(&reason, "cannot make a reason of")?;
        Err(decide(&ctx, "fail", &reason, Stop::Fail))
    });
    define(
        module,
        "retry",
        &["reason", "seconds", "!"],
        docs::RETRY,
        |ctx: NativeCallContext<'_>, reason: Dynamic, seconds: Dynamic| -> Ended {
            let seconds = match (seconds.as_int(), seconds.as_float()) {
                #[expect(clippy::cast_precision_loss, reason = "bounded by the check below")]
                (Ok(n), _) => n as f64,
                (_, Ok(n)) => n,
                _ => return Err(refuse(format!("`retry`: the seconds are a number, not {}", type_word(&seconds)))),
            };
            if !(0.0..=MAX_RETRY_SECONDS).contains(&seconds) {
                return Err(refuse("`retry`: the seconds are between 0 and 604800 (a week)"));
            }
            not_a_reference(&reason, "cannot make a reason of")?;
            let after = Duration::from_secs_f64(seconds);
            Err(decide(&ctx, "retry", &reason, |reason| Stop::Retry(reason, after)))
        },
    );

    let mut log = Module::new();
    log.set_doc("/// Lines for the decision record of the delivery: at most 100 of 1,000 bytes each.");
    for (name, level, docs) in
        [("info", LogLevel::Info, docs::INFO), ("warn", LogLevel::Warn, docs::WARN), ("error", LogLevel::Error, docs::ERROR)]
    {
        define(&mut log, name, &["value", "()"], docs, move |ctx: NativeCallContext<'_>, value: Dynamic| -> Hosted<()> {
            not_a_reference(&value, "cannot log")?;
            let site = state::call_site(&ctx);
            state::log(level, &text_of(&value), Some(&site.file), usize::try_from(site.line).ok());
            Ok(())
        });
    }
    engine.register_static_module("log", log.into());
}

/// What would be printed of a reference says nothing.
fn not_a_reference(value: &Dynamic, what: &str) -> Hosted<()> {
    if let Some(reference) = value.read_lock::<Reference>() {
        return Err(values::opaque(&reference, what));
    }
    match to_json(value) {
        Err(unfit) if unfit.reason.starts_with(REFERENCE_INSIDE) => Err(refuse(format!("{what} this value: {}", unfit.reason))),
        _ => Ok(()),
    }
}

/// Ends the run. The reason goes to the log as well, where it has its place in the script.
fn decide(ctx: &NativeCallContext<'_>, word: &str, reason: &Dynamic, stop: impl FnOnce(String) -> Stop) -> Box<EvalAltResult> {
    let (site, reason) = (state::call_site(ctx), text_of(reason));
    state::log(LogLevel::Info, &format!("{word}: {reason}"), Some(&site.file), usize::try_from(site.line).ok());
    state::decide(ctx, stop(reason))
}

/// A week.
const MAX_RETRY_SECONDS: f64 = 604_800.0;

/// A value as text: texts as they are, the rest as JSON where it can be.
fn text_of(value: &Dynamic) -> String {
    let text = match value.as_immutable_string_ref() {
        Ok(text) => text.to_string(),
        Err(_) if value.is_unit() => "()".to_owned(),
        Err(_) => to_json(value).map_or_else(|_| type_word(value).to_owned(), |json| json.to_string()),
    };
    lines::cut(&text, MAX_REASON.max(1000))
}

mod docs {
    pub(super) const SKIP: &str = r#"
Ends the run, wherever it is called: nothing is written and the delivery is done, with this reason in its record. Cannot be
caught.

```rhai
if event.traits?.internal == true { skip("a colleague"); }
```
"#;
    pub(super) const FAIL: &str = r#"
Ends the run, wherever it is called: nothing is written and the delivery becomes a dead letter with this reason. Cannot be
caught.

```rhai
if event.userId == () && event.anonymousId == () { fail("no id at all"); }
```
"#;
    pub(super) const RETRY: &str = r#"
Ends the run, wherever it is called: nothing is written, and the script runs again after so many seconds (0 to 604800).
Attempts are bounded by the retry policy in rules.toml. Cannot be caught.

```rhai
if organization::find(#{ "Segment Group ID": "acme" }) == () { retry("the organization is not there yet", 60); }
```
"#;
    pub(super) const INFO: &str = r#"
Adds a line of level info. Values that are no text are written as JSON. `print(..)` adds a line of level debug.

```rhai
log::info(`plan is ${event.traits?.plan}`);
```
"#;
    pub(super) const WARN: &str = r#"
Adds a line of level warn.

```rhai
log::warn("no phone given");
```
"#;
    pub(super) const ERROR: &str = r#"
Adds a line of level error. The run goes on; `fail` ends it.

```rhai
log::error("a currency that we do not sell in");
```
"#;
}
