//! What goes wrong on the way to the embedded Pipedrive, as a test wishes.

use std::time::Duration;

use rhai::{Engine, Module};

use super::TestFault;
use super::host::{Ctx, ask};
use crate::pipedrive::Method;
use crate::script::host::define;
use crate::script::state::{Hosted, refuse};

/// Longest time that a test may name.
const LONGEST: i64 = 86_400;

/// Registers `mock::..`.
pub(super) fn register(engine: &mut Engine) {
    let mut mock = Module::new();
    define(&mut mock, "fail_next", &["status", "()"], docs::FAIL_NEXT, |ctx: Ctx<'_>, status: i64| fail_next(&ctx, status, None));
    define(&mut mock, "fail_next", &["status", "method", "()"], docs::FAIL_NEXT, |ctx: Ctx<'_>, status: i64, method: &str| {
        fail_next(&ctx, status, Some(method))
    });
    define(&mut mock, "too_many", &["seconds", "()"], docs::TOO_MANY, |ctx: Ctx<'_>, wait: i64| {
        let wait = u32::try_from(seconds("too_many", wait)?.as_secs()).unwrap_or(u32::MAX);
        ask(&ctx, |host| host.fault(TestFault::TooMany(wait), None))
    });
    define(&mut mock, "cut_next", &["carried_out", "()"], docs::CUT_NEXT, |ctx: Ctx<'_>, carried_out: bool| {
        cut_next(&ctx, carried_out, None)
    });
    define(
        &mut mock,
        "cut_next",
        &["carried_out", "method", "()"],
        docs::CUT_NEXT,
        |ctx: Ctx<'_>, carried_out: bool, method: &str| cut_next(&ctx, carried_out, Some(method)),
    );
    define(&mut mock, "search_lag", &["seconds", "()"], docs::SEARCH_LAG, |ctx: Ctx<'_>, lag: i64| {
        let lag = seconds("search_lag", lag)?;
        ask(&ctx, |host| host.search_lag(lag))
    });
    define(&mut mock, "pass_time", &["seconds", "()"], docs::PASS_TIME, |ctx: Ctx<'_>, time: i64| {
        let time = seconds("pass_time", time)?;
        ask(&ctx, |host| host.pass_time(time))
    });
    engine.register_static_module("mock", mock.into());
}

fn fail_next(ctx: &Ctx<'_>, status: i64, method: Option<&str>) -> Hosted<()> {
    let method = method.map(|method| method_of("fail_next", method)).transpose()?;
    let status = u16::try_from(status).ok().filter(|s| (400..600).contains(s));
    let status = status.ok_or_else(|| refuse("`mock::fail_next`: the status is between 400 and 599"))?;
    // Pipedrive says with it how long to wait.
    let fault = if status == 429 { TestFault::TooMany(1) } else { TestFault::Status(status) };
    ask(ctx, |host| host.fault(fault, method))
}

fn cut_next(ctx: &Ctx<'_>, carried_out: bool, method: Option<&str>) -> Hosted<()> {
    let method = method.map(|method| method_of("cut_next", method)).transpose()?;
    ask(ctx, |host| host.fault(TestFault::Cut { carried_out }, method))
}

fn method_of(function: &str, method: &str) -> Hosted<Method> {
    let wrong = || refuse(format!("`mock::{function}`: the method is \"GET\", \"POST\", \"PATCH\", \"PUT\" or \"DELETE\""));
    Method::parse(method).ok_or_else(wrong)
}

fn seconds(function: &str, seconds: i64) -> Hosted<Duration> {
    let fits = u64::try_from(seconds).ok().filter(|_| seconds <= LONGEST);
    fits.map(Duration::from_secs).ok_or_else(|| refuse(format!("`mock::{function}`: the seconds are between 0 and {LONGEST}")))
}

mod docs {
    pub(super) const FAIL_NEXT: &str = "
Has the next request to Pipedrive fail with this status; with a method, the next one of that method.";
    pub(super) const TOO_MANY: &str = "
Has the next request refused with 429, for so many seconds (`Retry-After`). The delivery ends `pending`: the daemon would wait so long.";
    pub(super) const CUT_NEXT: &str = "
Has the connection cut before the answer to the next request, as a time-out does; `carried_out` says whether Pipedrive did what was asked.
With a method, the next one of that method.";
    pub(super) const SEARCH_LAG: &str = "
From now on Pipedrive's search sees a change only after so many seconds; 0 ends it. `KIND::find` of a test searches, too; `KIND::all` sees
everything.";
    pub(super) const PASS_TIME: &str = "
Moves the embedded Pipedrive's clock forward: what was written before becomes visible to its search.";
}
