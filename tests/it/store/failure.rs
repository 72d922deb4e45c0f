//! Overload, a full disk, a failed fsync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;

use parking_lot::Mutex;
use pipewright::store::sqlite::{CommitReport, Fault, OpenOptions, SqliteStore};
use pipewright::store::{Appended, DeliveryState, Seq, Store, StoreError, Write};

use super::support::{add, all_pending, at, event, finish, id, open, open_with, options, soon};

fn faulty(options: &mut OpenOptions) -> Arc<Mutex<Option<Fault>>> {
    let fault = Arc::new(Mutex::new(None));
    let shared = Arc::clone(&fault);
    options.fault = Some(Arc::new(move |_| *shared.lock()));
    fault
}

#[tokio::test]
async fn a_full_disk_stops_events_but_not_outcomes() {
    let mut fault = None;
    let opened = open_with(|o| {
        let shared = Arc::new(Mutex::new(false));
        fault = Some(Arc::clone(&shared));
        // Full for what holds new events; what the reserve is for still fits.
        o.fault = Some(Arc::new(move |intake| (*shared.lock() && intake).then_some(Fault::DiskFull)));
    });
    let full = fault.expect("is set");
    let reserve = opened.dir.path().join("reserve");
    let seq = add(&opened.store, event("m1", &["person"])).await;
    assert!(reserve.exists());

    *full.lock() = true;
    let (refused, done) = tokio::join!(
        opened.store.append(vec![event("m2", &["person"])]),
        opened.store.commit(vec![finish(id(seq, "person"), DeliveryState::Done, at(1))]),
    );
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    done.expect("outcomes go on");
    assert_eq!(all_pending(&opened.store, 10).await, []);
    let refusing = opened.store.stats().await.expect("counts").refusing;
    assert!(refusing.as_deref().is_some_and(|why| why.contains("once 16 MiB are free")), "{refusing:?}");

    *full.lock() = false;
    // Refused until the reserve is whole again, then taken: what failed was never in the window.
    let again = soon(async {
        loop {
            match opened.store.append(vec![event("m2", &["person"])]).await {
                Ok(appended) => return appended,
                Err(StoreError::Full(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    assert_eq!(again, [Appended::Fresh(Seq(2))]);
    assert!(reserve.exists());
    assert_eq!(opened.store.stats().await.expect("counts").refusing, None);
}

#[tokio::test]
async fn a_full_disk_releases_the_reserve() {
    let mut fault = None;
    let opened = open_with(|o| fault = Some(faulty(o)));
    let fault = fault.expect("is set");
    *fault.lock() = Some(Fault::DiskFull);
    let put = || vec![Write::KvPut { space: "s".to_owned(), key: "k".to_owned(), value: Vec::new() }];
    let refused = opened.store.commit(put()).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "not even the reserve was enough: {refused:?}");
    assert!(!opened.dir.path().join("reserve").exists());
    *fault.lock() = None;
    opened.store.commit(put()).await.expect("goes on by itself");
}

#[tokio::test]
async fn a_failed_fsync_is_final() {
    let mut fault = None;
    let mut opened = open_with(|o| fault = Some(faulty(o)));
    let fault = fault.expect("is set");
    let seq = add(&opened.store, event("m1", &["person"])).await;
    *fault.lock() = Some(Fault::Io);
    let failed = opened.store.append(vec![event("m2", &["person"])]).await;
    assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
    *fault.lock() = None;
    let later = opened.store.commit(vec![finish(id(seq, "person"), DeliveryState::Done, at(1))]).await;
    assert!(matches!(later, Err(StoreError::Failed(_))), "{later:?}");
    assert!(matches!(opened.store.append(Vec::new()).await, Err(StoreError::Failed(_))));
    assert!(matches!(opened.store.event(seq).await, Err(StoreError::Failed(_))));
    assert_eq!(soon(opened.feed.recv()).await.expect("the first event's")[0].id.seq, seq);
    assert!(soon(opened.feed.recv()).await.is_none(), "the feed ends, and nothing of the failed transaction was in it");

    let opened = opened.reopen();
    assert_eq!(all_pending(&opened.store, 10).await.len(), 1);
    assert_eq!(add(&opened.store, event("m2", &["person"])).await, Seq(2), "what failed is not in the window");
}

/// A store whose writer stops before each commit until told to go on.
struct Held {
    store: Arc<SqliteStore>,
    /// One message for each commit that was reached.
    reached: Receiver<()>,
    go: Sender<Option<Fault>>,
    reports: Arc<Mutex<Vec<CommitReport>>>,
    _dir: tempfile::TempDir,
    _feed: pipewright::store::Feed,
}

fn held(change: impl FnOnce(&mut OpenOptions)) -> Held {
    let dir = tempfile::TempDir::new().expect("a directory");
    let (reach, reached) = channel();
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reports);
    let mut options = OpenOptions {
        fault: Some(Arc::new(move |_| {
            // A test that has ended holds nothing up.
            reach.send(()).ok()?;
            wait.lock().recv().ok()?
        })),
        observer: Some(Arc::new(move |report| seen.lock().push(*report))),
        ..options(&dir)
    };
    change(&mut options);
    let (store, feed) = SqliteStore::open(options).expect("opens");
    Held { store: Arc::new(store), reached, go, reports, _dir: dir, _feed: feed }
}

impl Held {
    /// Hands in calls one after the other while a first one is held at its commit, then lets all go on.
    async fn together<T: Send + 'static>(
        &self,
        calls: Vec<std::pin::Pin<Box<dyn Future<Output = T> + Send>>>,
        fault: Option<Fault>,
    ) -> Vec<T> {
        let first = tokio::spawn({
            let store = Arc::clone(&self.store);
            async move { store.commit(Vec::new()).await }
        });
        while self.reached.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let mut calls = calls;
        // Polled once, each call is in the queue.
        for call in &mut calls {
            let pending = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
            assert!(pending, "waits for its commit");
        }
        for answer in [None, fault, fault] {
            self.go.send(answer).expect("the writer waits");
        }
        first.await.expect("no panic").expect("commits");
        soon(futures_util::future::join_all(calls)).await
    }
}

fn boxed<T>(future: impl Future<Output = T> + Send + 'static) -> std::pin::Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(future)
}

fn append(held: &Held, id: &str) -> std::pin::Pin<Box<dyn Future<Output = Result<Vec<Appended>, StoreError>> + Send>> {
    let (store, new) = (Arc::clone(&held.store), event(id, &["person"]));
    boxed(async move { store.append(vec![new]).await })
}

#[tokio::test]
async fn calls_that_wait_together_share_one_commit() {
    let held = held(|_| {});
    let answers = held.together(vec![append(&held, "m1"), append(&held, "m2"), append(&held, "m1")], None).await;
    let answers: Vec<_> = answers.into_iter().map(|a| a.expect("appends")[0]).collect();
    assert_eq!(answers, [Appended::Fresh(Seq(1)), Appended::Fresh(Seq(2)), Appended::Duplicate(Seq(1))]);
    assert_eq!(held.reports.lock().iter().map(|r| (r.calls, r.deliveries)).collect::<Vec<_>>(), [(1, 0), (3, 2)]);
}

#[tokio::test]
async fn a_duplicate_is_not_acknowledged_when_its_first_copy_failed() {
    let held = held(|_| {});
    let answers = held.together(vec![append(&held, "m1"), append(&held, "m1")], Some(Fault::DiskFull)).await;
    assert!(answers.iter().all(|a| matches!(a, Err(StoreError::Full(_)))), "{answers:?}");
    let fresh = soon(async {
        loop {
            // The writer asks before each commit.
            held.go.send(None).expect("the writer waits");
            if let Ok(appended) = held.store.append(vec![event("m1", &["person"])]).await {
                return appended;
            }
        }
    })
    .await;
    assert_eq!(fresh, [Appended::Fresh(Seq(1))]);
}

#[tokio::test]
async fn a_refused_call_leaves_the_others_of_its_commit_alone() {
    let held = held(|_| {});
    let commit = |writes: Vec<Write>| {
        let store = Arc::clone(&held.store);
        boxed(async move { store.commit(writes).await })
    };
    let put = |key: &str| Write::KvPut { space: "s".to_owned(), key: key.to_owned(), value: Vec::new() };
    let calls = vec![
        commit(vec![put("a")]),
        commit(vec![put("b"), finish(id(Seq(9), "person"), DeliveryState::Done, at(1))]),
        commit(vec![put("c")]),
    ];
    let answers = held.together(calls, None).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(held.reports.lock()[1].calls, 3);
    let keys: Vec<_> = held.store.kv_list("s").await.expect("reads").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "c"]);
}

#[tokio::test]
async fn too_much_waiting_is_refused_and_outcomes_are_not() {
    let held = held(|o| o.max_waiting_events = 2);
    let store = Arc::clone(&held.store);
    let overload = boxed(async move {
        let refused = store.append(vec![event("m3", &["person"])]).await;
        assert!(matches!(refused, Err(StoreError::Overloaded)), "{refused:?}");
        store.commit(Vec::new()).await.map(|()| Vec::new())
    });
    let answers = held.together(vec![append(&held, "m1"), append(&held, "m2"), overload], None).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    held.go.send(None).expect("the writer waits");
    let batch = (0..5).map(|n| event(&format!("n{n}"), &["person"])).collect();
    assert_eq!(held.store.append(batch).await.expect("a batch that finds nothing waiting is never too large").len(), 5);
}

#[tokio::test]
async fn after_closing_every_call_is_refused() {
    let opened = open();
    let seq = add(&opened.store, event("m1", &["person"])).await;
    opened.store.close().await;
    assert!(matches!(opened.store.append(vec![event("m2", &["person"])]).await, Err(StoreError::Closed)));
    assert!(matches!(opened.store.event(seq).await, Err(StoreError::Closed)));
    let wal = std::fs::metadata(opened.dir.path().join("pipewright.db-wal")).map_or(0, |m| m.len());
    assert_eq!(wal, 0, "the file is whole without its WAL");
    let opened = opened.reopen();
    assert!(opened.store.event(seq).await.expect("reads").is_some());
}
