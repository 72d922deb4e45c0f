//! Closed-loop load: so many producers, each with one call under way, for a fixed time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// What a run measured.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Events acknowledged.
    pub(crate) events: u64,
    /// How long it took.
    pub(crate) took: Duration,
    /// Time from a call to its answer, sorted.
    latencies: Vec<Duration>,
}

impl Measured {
    /// Events a second.
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    /// A quantile of the time to the answer.
    pub(crate) fn quantile(&self, q: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * q).round() as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |q| self.quantile(q).as_secs_f64() * 1_000.0;
        write!(f, "{:>9.0} events/s   p50 {:>7.2} ms   p99 {:>7.2} ms", self.rate(), ms(0.5), ms(0.99))
    }
}

/// Runs `call(producer, n)` in a loop on each producer until `time` is over; a call answers how many events it had taken.
pub(crate) async fn closed_loop<F, C>(producers: usize, time: Duration, call: C) -> Measured
where
    C: Fn(usize, u64) -> F + Send + Sync + 'static,
    F: Future<Output = u64> + Send,
{
    let call = Arc::new(call);
    let began = Instant::now();
    let tasks: Vec<_> = (0..producers)
        .map(|producer| {
            let call = Arc::clone(&call);
            tokio::spawn(async move {
                let (mut events, mut latencies) = (0, Vec::new());
                while began.elapsed() < time {
                    let sent = Instant::now();
                    events += call(producer, latencies.len() as u64).await;
                    latencies.push(sent.elapsed());
                }
                (events, latencies)
            })
        })
        .collect();
    let (mut events, mut latencies) = (0, Vec::new());
    for task in tasks {
        let (some, times) = task.await.expect("a producer does not panic");
        events += some;
        latencies.extend(times);
    }
    latencies.sort_unstable();
    Measured { events, took: began.elapsed(), latencies }
}
