//! CPU time by kind of thread, which other work on the machine does not change much.

use std::collections::BTreeMap;
use std::time::Duration;

/// CPU time of this process's living threads so far, by the first word of their names.
pub(crate) fn by_thread() -> BTreeMap<String, Duration> {
    let mut times = BTreeMap::new();
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    for task in tasks.flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).ok();
        // A thread may end between the two.
        if let (Some(name), Some(times_of)) = (read("comm"), read("schedstat"))
            && let Some(nanos) = times_of.split_whitespace().next().and_then(|n| n.parse().ok())
        {
            let name = name.trim().split('-').next().unwrap_or_default().to_owned();
            *times.entry(name).or_default() += Duration::from_nanos(nanos);
        }
    }
    times
}

/// Microseconds that the threads of a name spent between the two.
pub(crate) fn micros(before: &BTreeMap<String, Duration>, after: &BTreeMap<String, Duration>, name: &str) -> f64 {
    let at = |times: &BTreeMap<String, Duration>| times.get(name).copied().unwrap_or_default();
    at(after).saturating_sub(at(before)).as_secs_f64() * 1e6
}
