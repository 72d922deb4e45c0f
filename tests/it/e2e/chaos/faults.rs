//! What goes wrong between the program and the account.

use std::time::Duration;

use pipewright::mock::{Fault, FaultMatch, Mock};
use pipewright::pipedrive::Method;
use serde_json::json;

use super::dice::Dice;

/// Puts some faults in the way of the requests to come; says which.
pub(super) fn set(mock: &Mock, dice: &mut Dice) -> Vec<String> {
    let methods = [None, Some(Method::Get), Some(Method::Post), Some(Method::Patch)];
    let mut said = Vec::new();
    for _ in 0..2 + dice.below(10) {
        let method = methods[usize::try_from(dice.below(4)).expect("an index")];
        let skip = u32::try_from(dice.below(60)).expect("small");
        let fault = one(dice);
        said.push(format!("{method:?} after {skip}: {fault:?}"));
        mock.fail_matching(FaultMatch { method, path: None, skip, times: 1, between: 0 }, fault);
    }
    said
}

fn one(dice: &mut Dice) -> Fault {
    let committed = dice.below(2) == 0;
    match dice.below(10) {
        0 => Fault::Cut { committed },
        1 => Fault::Hang { committed },
        2 => Fault::Status { status: 503, body: json!({ "success": false, "error": "down" }) },
        3 => Fault::Status { status: 500, body: json!({ "success": false, "error": "oops" }) },
        4 => Fault::FailedAfter { status: 502 },
        5 => Fault::TooMany { remaining: 0, reset: 1, retry_after: Some(1) },
        6 => Fault::Truncated,
        7 => Fault::Firewall,
        8 => Fault::WrongJson(json!({ "success": true })),
        _ => Fault::Late(Duration::from_millis(300)),
    }
}
