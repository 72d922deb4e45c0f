//! Results for programs.

use serde_json::{Value, json};

use crate::script::ScriptCoverage;
use crate::testing::coverage::{Coverage, missed, totals};
use crate::testing::{TestResult, TestRun};

/// The one document of `--json`.
pub(super) fn document(run: &TestRun) -> Value {
    let one = |result: &TestResult| {
        json!({
            "file": format!("scripts/tests/{}", result.test.file), "name": result.test.name, "line": result.test.line,
            "ok": result.failure.is_none(), "failure": result.failure, "logs": result.logs,
            "ms": u64::try_from(result.took.as_millis()).unwrap_or(u64::MAX), "rules": result.rules,
        })
    };
    let broken: Vec<Value> = run
        .uncompiled
        .iter()
        .map(|u| json!({ "file": format!("scripts/tests/{}", u.file), "diagnostics": u.diagnostics }))
        .collect();
    json!({
        "ok": run.failed() == 0, "passed": run.passed(), "failed": run.failed(), "left_out": run.left_out,
        "ms": u64::try_from(run.took.as_millis()).unwrap_or(u64::MAX),
        "tests": run.results.iter().map(one).collect::<Vec<_>>(), "uncompiled": broken,
        "exercised": run.exercised, "untested": run.untested,
        "snapshots": { "written": run.updated.written, "removed": run.updated.removed },
        "coverage": run.coverage.as_ref().map(coverage),
    })
}

fn coverage(coverage: &Coverage) -> Value {
    let file = |script: &ScriptCoverage| {
        let totals = totals(script);
        json!({
            "file": format!("scripts/{}", script.file), "percent": totals.percent(), "lines": totals.lines,
            "branches": totals.branches, "missed": missed(script),
        })
    };
    let totals = coverage.totals();
    json!({
        "percent": totals.percent(), "lines": totals.lines, "branches": totals.branches,
        "files": coverage.scripts.iter().map(file).collect::<Vec<_>>(),
    })
}
