//! Edits on disk, as editors, deployers and mounts make them, and what goes live.

mod gate;
mod versions;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipewright::diagnostic::Diagnostic;
use pipewright::reload::{Handle, ReloadOutcome, Started, prepare};
use pipewright::rules::{Live, Version};
use pipewright::store::Store;
use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::telemetry::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::rules::{HEAD, SCRIPT};
use crate::support::{CAP, in_time, temp_dir, wait_until, write};

/// Rules whose poll never comes: what goes live was seen by the watcher.
fn rules(more: &str) -> String {
    format!("{more}\n[reload]\npoll = \"1h\"\n{HEAD}[[rules]]\nname = \"a\"\nwhen = 'type = \"track\"'\nscript = \"a.rhai\"\n")
}

/// A script that tells its number.
fn script(number: u32) -> String {
    format!("// number {number}\n{SCRIPT}")
}

fn seed(dir: &Path) {
    write(dir, "rules.toml", &rules(""));
    write(dir, "scripts/a.rhai", &script(0));
}

/// A daemon's reloading, without the rest of the daemon.
struct Running {
    live: Live,
    handle: Handle,
    swapped: watch::Receiver<Version>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    metrics: Metrics,
    store: Arc<dyn Store>,
}

impl Running {
    async fn try_start(dir: &Path) -> Result<Self, Vec<Diagnostic>> {
        let prepared = prepare(dir, true);
        let options = OpenOptions { dir: prepared.data_dir(), ..OpenOptions::default() };
        let (store, _feed) = SqliteStore::open(options).expect("a store");
        let store: Arc<dyn Store> = Arc::new(store);
        let metrics = Metrics::default();
        let chosen = match prepared.choose(&*store, false).await {
            Ok(chosen) => chosen,
            Err(problems) => {
                store.close().await;
                return Err(problems);
            }
        };
        let Started { live, handle, swapped, reloader, .. } =
            chosen.start(store.clone(), metrics.clone(), Arc::new(BTreeMap::new)).await;
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(reloader.run(stopping));
        Ok(Self { live, handle, swapped, stop, task, metrics, store })
    }

    /// Started, and watching.
    async fn start(dir: &Path) -> Self {
        let running = Self::try_start(dir).await.expect("the files are valid");
        // The first request is answered after the first watch was set up.
        assert!(matches!(running.handle.reload().await, ReloadOutcome::Unchanged { .. }));
        running
    }

    /// Waits until the live set's file has this text.
    async fn until_live(&mut self, name: &str, text: &str) {
        let live = |running: &Self| running.live.load().files.sources.scripts.get(name).is_some_and(|t| **t == *text);
        tokio::time::timeout(CAP, async {
            while !live(self) {
                self.swapped.changed().await.expect("the reloader runs");
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{name} did not go live; status: {:?}", self.handle.status()));
    }

    async fn until_refused(&self) -> Vec<Diagnostic> {
        wait_until("the files to be refused", || async { self.handle.status().refused }).await.diagnostics
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("the reloader ends");
        self.store.close().await;
    }
}

fn versions(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("scripts/a.rhai"), dir.join("scripts/.a.rhai.new"))
}

#[tokio::test]
async fn every_way_of_saving_a_file_goes_live() {
    let dir = temp_dir();
    seed(dir.path());
    let mut running = Running::start(dir.path()).await;
    let (file, new) = versions(dir.path());

    // Truncated and written.
    fs::write(&file, script(1)).expect("written");
    running.until_live("a.rhai", &script(1)).await;

    // Written beside and renamed over.
    fs::write(&new, script(2)).expect("written");
    fs::rename(&new, &file).expect("renamed");
    running.until_live("a.rhai", &script(2)).await;

    // As vim does: a probe file, the old one moved away, a new one written, the old one deleted.
    fs::write(dir.path().join("scripts/4913"), "").expect("written");
    fs::remove_file(dir.path().join("scripts/4913")).expect("deleted");
    fs::rename(&file, dir.path().join("scripts/a.rhai~")).expect("renamed");
    fs::write(&file, script(3)).expect("written");
    fs::remove_file(dir.path().join("scripts/a.rhai~")).expect("deleted");
    running.until_live("a.rhai", &script(3)).await;

    // Deleted and made anew, with its folder.
    fs::remove_dir_all(dir.path().join("scripts")).expect("deleted");
    write(dir.path(), "scripts/a.rhai", &script(4));
    running.until_live("a.rhai", &script(4)).await;
    // The new folder is watched too.
    fs::write(&file, script(5)).expect("written");
    running.until_live("a.rhai", &script(5)).await;

    // In pieces.
    use std::io::Write as _;
    let mut open = fs::File::create(&file).expect("created");
    for piece in script(6).as_bytes().chunks(7) {
        open.write_all(piece).expect("written");
        open.flush().expect("flushed");
        tokio::task::yield_now().await;
    }
    drop(open);
    running.until_live("a.rhai", &script(6)).await;

    // A new file in a new folder, imported.
    write(dir.path(), "scripts/lib/x.rhai", "fn x() { 1 }\n");
    running.until_live("lib/x.rhai", "fn x() { 1 }\n").await;

    // The rules, by the same means.
    write(dir.path(), "rules.toml", &rules("# changed"));
    tokio::time::timeout(CAP, async {
        while !running.live.load().files.rules_toml.starts_with("# changed") {
            running.swapped.changed().await.expect("the reloader runs");
        }
    })
    .await
    .expect("the rules go live");
    running.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_a_swapped_link_goes_live_and_stays_watched() {
    let root = temp_dir();
    for release in ["rel1", "rel2", "rel3"] {
        seed(&root.path().join(release));
    }
    write(root.path(), "rel2/scripts/a.rhai", &script(2));
    write(root.path(), "rel3/scripts/a.rhai", &script(3));
    let current = root.path().join("current");
    let swap = |to: &str| {
        symlink(to, root.path().join("next")).expect("linked");
        fs::rename(root.path().join("next"), &current).expect("renamed");
    };
    swap("rel1");
    let mut running = Running::start(&current).await;
    swap("rel2");
    running.until_live("a.rhai", &script(2)).await;
    write(root.path(), "rel2/scripts/a.rhai", &script(22));
    running.until_live("a.rhai", &script(22)).await;
    swap("rel3");
    running.until_live("a.rhai", &script(3)).await;
    running.stop().await;
}

/// A mount as Kubernetes makes it: names that link through `..data`, which is swapped.
struct ConfigMap<'a> {
    mount: &'a Path,
    generation: u32,
}

impl ConfigMap<'_> {
    /// Puts the texts there all at once.
    fn publish(&mut self, files: &[(&str, &str)]) {
        self.generation += 1;
        let folder = format!("..gen{}", self.generation);
        for (name, text) in files {
            write(self.mount, &format!("{folder}/{name}"), text);
        }
        symlink(&folder, self.mount.join("..data_tmp")).expect("linked");
        fs::rename(self.mount.join("..data_tmp"), self.mount.join("..data")).expect("renamed");
        for (name, _) in files {
            let link = self.mount.join(name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(format!("..data/{name}"), link).expect("linked");
            }
        }
        if self.generation > 1 {
            fs::remove_dir_all(self.mount.join(format!("..gen{}", self.generation - 1))).expect("deleted");
        }
    }
}

#[tokio::test]
async fn a_config_map_goes_live_at_each_swap() {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", &rules(""));
    fs::create_dir(dir.path().join("scripts")).expect("a folder");
    let mount = dir.path().join("scripts");
    let mut map = ConfigMap { mount: &mount, generation: 0 };
    map.publish(&[("a.rhai", &script(1))]);
    let mut running = Running::start(dir.path()).await;
    for number in 2..5 {
        map.publish(&[("a.rhai", &script(number))]);
        running.until_live("a.rhai", &script(number)).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_under_load_never_see_two_sets_mixed() {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", &rules(""));
    fs::create_dir(dir.path().join("scripts")).expect("a folder");
    let mount = dir.path().join("scripts");
    let mut map = ConfigMap { mount: &mount, generation: 0 };
    let texts = |n: u32| [("a.rhai", script(n)), ("b.rhai", script(n)), ("z.rhai", script(n))];
    let mut publish = |n: u32| map.publish(&texts(n).each_ref().map(|(name, text)| (*name, text.as_str())));
    publish(1);
    let mut running = Running::start(dir.path()).await;
    let (live, stop) = (running.live.clone(), running.stop.subscribe());
    let (saw, mut seen) = watch::channel(String::new());
    let reader = tokio::task::spawn_blocking(move || {
        while !*stop.borrow() {
            let set = live.load();
            let scripts = &set.files.sources.scripts;
            assert!(
                scripts.len() == 3 && scripts["a.rhai"] == scripts["b.rhai"] && scripts["b.rhai"] == scripts["z.rhai"],
                "torn"
            );
            saw.send_if_modified(|text| {
                let new = **text != *scripts["a.rhai"];
                if new {
                    text.replace_range(.., &scripts["a.rhai"]);
                }
                new
            });
        }
    });
    for number in 2..30 {
        publish(number);
        // Every third, the last one among them, is waited for until the reader has it; the others come while files are being read.
        if number % 3 == 2 {
            running.until_live("a.rhai", &script(number)).await;
            let seen = in_time("the reader has read it", seen.wait_for(|text| *text == script(number))).await;
            drop(seen.expect("no torn set"));
        }
    }
    running.stop().await;
    reader.await.expect("no torn set");
}

#[tokio::test]
async fn a_broken_edit_keeps_the_last_good_set_and_a_mended_one_goes_live() {
    let dir = temp_dir();
    seed(dir.path());
    let mut running = Running::start(dir.path()).await;
    let before = running.live.load().version.clone();
    write(dir.path(), "scripts/a.rhai", "fn handle(event) {\n    let x = ;\n}\n");
    let problems = running.until_refused().await;
    let place = problems[0].place.as_ref().expect("a place");
    assert_eq!((place.file.as_str(), place.line), ("scripts/a.rhai", 2));
    assert_eq!(running.live.load().version, before);
    let ReloadOutcome::Refused { version, diagnostics, .. } = running.handle.reload().await else {
        panic!("it is still refused")
    };
    assert_eq!((version, diagnostics), (before.clone(), problems));
    assert!(running.metrics.render().contains("result=\"refused\""));

    // Back to what is live: nothing to swap, and nothing is wrong any more.
    write(dir.path(), "scripts/a.rhai", &script(0));
    wait_until("the refusal to end", || async { running.handle.status().refused.is_none().then_some(()) }).await;
    assert_eq!(running.live.load().version, before);

    write(dir.path(), "rules.toml", &rules("").replace("type =", "tpye ="));
    let problems = running.until_refused().await;
    assert!(problems[0].message.contains("unknown field `tpye`"), "{problems:?}");
    write(dir.path(), "rules.toml", &rules(""));
    write(dir.path(), "scripts/a.rhai", &script(1));
    running.until_live("a.rhai", &script(1)).await;
    assert_eq!(running.handle.status().refused, None);
    running.stop().await;
}

#[tokio::test]
async fn a_restart_with_broken_files_goes_on_with_the_last_good_set() {
    let dir = temp_dir();
    // The store is where the broken file says.
    write(dir.path(), "rules.toml", &rules("[server]\ndata_dir = \"kept\""));
    write(dir.path(), "scripts/a.rhai", &script(0));
    let mut running = Running::start(dir.path()).await;
    write(dir.path(), "scripts/a.rhai", &script(1));
    running.until_live("a.rhai", &script(1)).await;
    // Asked for, so that the store has it.
    assert!(matches!(running.handle.reload().await, ReloadOutcome::Unchanged { .. }));
    running.stop().await;

    write(dir.path(), "rules.toml", &(rules("[server]\ndata_dir = \"kept\"\nlissten = 1")));
    let mut running = Running::try_start(dir.path()).await.expect("the stored set");
    let status = running.handle.status();
    assert!(status.from_store);
    assert_eq!(status.refused.expect("a reason").diagnostics[0].help.as_deref(), Some("did you mean `listen`?"));
    assert_eq!(&*running.live.load().files.sources.scripts["a.rhai"], script(1));

    write(dir.path(), "rules.toml", &rules("[server]\ndata_dir = \"kept\""));
    write(dir.path(), "scripts/a.rhai", &script(2));
    running.until_live("a.rhai", &script(2)).await;
    let status = running.handle.status();
    assert!(!status.from_store && status.refused.is_none());
    running.stop().await;
}

#[tokio::test]
async fn a_first_start_with_broken_files_says_why() {
    let dir = temp_dir();
    seed(dir.path());
    write(dir.path(), "scripts/a.rhai", "fn handle(event) { nonsense( }\n");
    let problems = Running::try_start(dir.path()).await.map(|_| ()).expect_err("nothing to run");
    assert_eq!(problems[0].place.as_ref().map(|p| p.file.as_str()), Some("scripts/a.rhai"));
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let dir = temp_dir();
    seed(dir.path());
    let running = Running::start(dir.path()).await;
    write(
        dir.path(),
        "rules.toml",
        &rules("[server]\nlisten = \"127.0.0.1:9999\"\nmax_batch_events = 7\n[admin]\nlisten = \"127.0.0.1:9998\""),
    );
    // Whether the watcher or the request brings it in.
    running.handle.reload().await;
    assert_eq!(running.handle.status().restart_needed, ["server.listen", "admin.listen"]);
    assert_eq!(running.live.load().config.server.max_batch_events, 7);
    running.stop().await;
}

#[tokio::test]
async fn a_secret_file_that_changed_is_taken_at_a_request() {
    let dir = temp_dir();
    write(dir.path(), "key.txt", "first\n");
    write(dir.path(), "scripts/a.rhai", &script(0));
    write(dir.path(), "rules.toml", &rules("").replacen("env:PW_TEST_UNSET", "file:key.txt", 1));
    let running = Running::start(dir.path()).await;
    write(dir.path(), "key.txt", "second\n");
    assert!(matches!(running.handle.reload().await, ReloadOutcome::Swapped { .. }));
    assert_eq!(running.live.load().sources["website"].write_keys[0].expose(), "second");
    running.stop().await;
}

#[tokio::test]
async fn the_poll_finds_what_the_watcher_is_not_told() {
    let dir = temp_dir();
    let elsewhere = temp_dir();
    write(elsewhere.path(), "a.rhai", &script(0));
    fs::create_dir(dir.path().join("scripts")).expect("a folder");
    symlink(elsewhere.path().join("a.rhai"), dir.path().join("scripts/a.rhai")).expect("linked");
    write(dir.path(), "rules.toml", &rules("").replace("1h", "50ms"));
    let mut running = Running::start(dir.path()).await;
    write(elsewhere.path(), "a.rhai", &script(1));
    running.until_live("a.rhai", &script(1)).await;
    running.stop().await;
}
