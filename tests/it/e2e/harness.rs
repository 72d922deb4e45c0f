//! The real binary as a child process: folders, daemons, accounts of their own, and what they said.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::support::binary::command_async;
use crate::support::overheard::nothing_told;
use crate::support::{CAP, Reply, get, request, temp_dir, wait_until};

/// The write key that sources get where none is set.
pub(super) const KEY: &str = "mock";

fn command(args: &[&str]) -> Command {
    let mut command = command_async(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ended {
    /// A command that should end and does not is stopped after a generous cap.
    async fn when(mut command: Command, args: &[&str]) -> Self {
        let ended = tokio::time::timeout(4 * CAP, command.output()).await;
        let output: Output = ended.unwrap_or_else(|_| panic!("{args:?} does not end")).expect("the binary starts");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What it said, when it ended with 0.
    pub(super) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }
}

/// A working folder as `init` makes it.
pub(super) struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    pub(super) async fn init() -> Self {
        let folder = Self::gated().await;
        // Most edits here mean to break what the shipped tests hold.
        folder.edit("rules.toml", "require = [\"check\", \"tests\"]", "require = [\"check\"]");
        folder
    }

    /// The same with the gate that it comes with: all shipped tests.
    pub(super) async fn gated() -> Self {
        let dir = temp_dir();
        let path = dir.path().join("rules");
        run(&["init", text(&path)]).await.ok();
        Self { dir }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("rules")
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        crate::support::write(&self.path(), name, text);
    }

    /// Replaces a text that must be there.
    pub(super) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replacen(from, to, 1));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command.current_dir(self.path()).env("PIPEWRIGHT_WRITE_KEY", KEY).env("PIPEDRIVE_API_TOKEN", KEY);
        command
    }

    /// Runs a command in this folder to its end.
    pub(super) async fn run(&self, args: &[&str]) -> Ended {
        Ended::when(self.command(args), args).await
    }

    /// The same, with these variables.
    pub(super) async fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Ended {
        let mut command = self.command(args);
        command.envs(variables.iter().copied());
        Ended::when(command, args).await
    }

    /// Begins one, and waits until it says something.
    pub(super) async fn start(&self, args: &[&str], says: &str) -> Process {
        Process::start(self.command(args), says).await
    }

    /// The same, with the answer as JSON.
    pub(super) async fn json(&self, args: &[&str]) -> Value {
        let ended = self.run(&[args, &["--json"]].concat()).await;
        serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{args:?}: {e}: {ended:?}"))
    }

    /// Points the shipped settings at an account in a process of its own, and turns writes on.
    pub(super) fn use_account(&self, account: &Process) {
        self.use_address(account.address("embedded Pipedrive on "));
        self.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    }

    /// Points the shipped settings at the account at this address. Writes stay off.
    pub(super) fn use_address(&self, at: SocketAddr) {
        let settings = format!("base_url = \"http://{at}\"\nplan = \"ultimate\"");
        self.edit("rules.toml", "domain = \"acme\"", &settings);
        self.edit("rules.toml", "\nplan = \"lite\"\n", "\n");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Runs a command to its end, anywhere.
pub(super) async fn run(args: &[&str]) -> Ended {
    Ended::when(command(args), args).await
}

/// A running process, killed when dropped.
pub(super) struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    /// What a daemon says is for logs. Commands show people what they ask for.
    daemon: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.daemon {
            nothing_told(&self.said());
        }
    }
}

impl Process {
    /// Starts it and waits until it says `ready`.
    async fn start(mut command: Command, ready: &str) -> Self {
        let mut process = Self::spawn(&mut command);
        let said = process.said.clone();
        wait_until(&format!("{command:?} says {ready:?}"), || {
            let ended = process.child.try_wait().expect("its state");
            let said = said.lock().clone();
            assert!(ended.is_none() || said.contains(ready), "it ended ({ended:?}):\n{said}");
            async move { said.contains(ready).then_some(()) }
        })
        .await;
        process
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let said = Arc::new(Mutex::new(String::new()));
        tokio::spawn(keep(child.stdout.take().expect("a pipe"), said.clone()));
        tokio::spawn(keep(child.stderr.take().expect("a pipe"), said.clone()));
        let daemon = command.as_std().get_args().next().is_some_and(|first| first == "serve");
        Self { child, said, daemon }
    }

    /// An embedded Pipedrive in a process of its own.
    pub(super) async fn account(more: &[&str]) -> Self {
        let args = [&["mock", "--listen", "127.0.0.1:0"], more].concat();
        Self::start(command(&args), "embedded Pipedrive on ").await
    }

    /// All that it has said.
    pub(super) fn said(&self) -> String {
        self.said.lock().clone()
    }

    /// The same, to be looked at later.
    pub(super) fn saying(&self) -> Arc<Mutex<String>> {
        self.said.clone()
    }

    /// The address that it said after these words.
    pub(super) fn address(&self, after: &str) -> SocketAddr {
        let said = self.said();
        let line = said.lines().find(|line| line.contains(after)).unwrap_or_else(|| panic!("no {after:?} in:\n{said}"));
        let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        address.and_then(|a| a.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    /// Its number in the system.
    pub(super) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it holds in memory, and held at most, in bytes.
    #[cfg(target_os = "linux")]
    pub(super) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process");
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    /// SIGKILL, and waits until it is gone.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Sends a signal by its name.
    pub(super) async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.expect("kill runs");
        assert!(sent.success());
    }

    /// Whether it lives for so long.
    pub(super) async fn lives_for(&mut self, time: std::time::Duration) -> bool {
        tokio::time::timeout(time, self.child.wait()).await.is_err()
    }

    /// Waits until it has ended; its exit code.
    pub(super) async fn ended(&mut self) -> Option<i32> {
        let waiting = tokio::time::timeout(CAP, self.child.wait());
        waiting.await.unwrap_or_else(|_| panic!("it does not end:\n{}", self.said())).expect("its state").code()
    }
}

async fn keep(pipe: impl AsyncRead + Unpin, said: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock();
        said.push_str(&line);
        said.push('\n');
    }
}

/// What a daemon says when it takes events.
const READY: &str = " ready ";

/// A running daemon.
pub(super) struct Daemon {
    pub(super) process: Process,
    pub(super) events: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Daemon {
    /// `serve` in this folder, on free ports.
    pub(super) async fn serve(folder: &Folder, more: &[&str]) -> Self {
        Self::of(Process::start(Self::command(folder, more), READY).await)
    }

    /// The same by a command of the test's own.
    pub(super) async fn from_command(command: Command) -> Self {
        Self::of(Process::start(command, READY).await)
    }

    /// The same with these variables; none when it ends before it is ready.
    pub(super) async fn try_serve(folder: &Folder, variables: &[(&str, &str)]) -> Option<Self> {
        let mut command = Self::command(folder, &[]);
        command.envs(variables.iter().copied());
        let mut process = Process::spawn(&mut command);
        let ready = wait_until("it is ready or has ended", || {
            let (ended, ready) = (process.has_ended(), process.said().contains(READY));
            async move { (ended || ready).then_some(ready) }
        })
        .await;
        ready.then(|| Self::of(process))
    }

    /// `serve --mock` in a process that may open so many files.
    pub(super) async fn limited(folder: &Folder, files: u32) -> Self {
        let serve = Self::command(folder, &["--mock", "--mock-listen", "127.0.0.1:0"]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]);
        command.arg(serve.as_std().get_program()).args(serve.as_std().get_args()).current_dir(folder.path());
        for (name, value) in serve.as_std().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::of(Process::start(command, READY).await)
    }

    fn command(folder: &Folder, more: &[&str]) -> Command {
        let args = [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], more].concat();
        let mut command = command(&args);
        command.current_dir(folder.path());
        if !more.contains(&"--mock") {
            command.env("PIPEWRIGHT_WRITE_KEY", KEY).env("PIPEDRIVE_API_TOKEN", KEY);
        }
        command
    }

    fn of(process: Process) -> Self {
        let (events, admin) = (process.address("receiving events"), process.address("admin API"));
        Self { process, events, admin }
    }

    /// `serve --mock`, without any secret set.
    pub(super) async fn mocked(folder: &Folder) -> Self {
        Self::serve(folder, &["--mock", "--mock-listen", "127.0.0.1:0"]).await
    }

    /// The embedded Pipedrive of `serve --mock`.
    pub(super) fn account(&self) -> Account {
        Account(self.process.address("embedded Pipedrive;"))
    }

    /// Sends an event to a path of the Tracking API.
    pub(super) async fn send(&self, path: &str, event: &Value) -> Reply {
        send(self.events, path, event).await
    }

    /// Sends an event that must be taken.
    pub(super) async fn accept(&self, path: &str, event: &Value) {
        let reply = self.send(path, event).await;
        assert_eq!((reply.status, reply.json()), (200, json!({ "success": true })), "{event}");
    }

    /// The deliveries of a user once `expected` of them have ended.
    pub(super) async fn settled(&self, user: &str, expected: usize) -> Vec<Value> {
        let path = format!("/api/events?user={user}&limit=1000");
        wait_until(&format!("{expected} deliveries of {user} have ended\n{}", self.process.said()), || async {
            let list = get(self.admin, &path).await.json();
            let all = list["deliveries"].as_array().cloned().unwrap_or_default();
            let ended: Vec<_> = all.into_iter().filter(|d| d["state"] != "pending").collect();
            (ended.len() >= expected).then_some(ended)
        })
        .await
    }

    /// The same, all of them done.
    pub(super) async fn done(&self, user: &str, expected: usize) {
        let ended = self.settled(user, expected).await;
        assert!(ended.iter().all(|d| d["state"] == "done"), "{ended:#?}");
    }

    /// Waits until nothing is left to deliver; nothing may have failed.
    pub(super) async fn all_ended(&self) {
        wait_until("nothing is left to deliver", || async {
            let status = get(self.admin, "/api/status").await.json();
            (status["delivery"]["pending"] == 0 && status["store"]["pending"] == 0).then_some(())
        })
        .await;
        let failed = get(self.admin, "/api/events?state=failed").await.json();
        assert_eq!(failed["deliveries"], json!([]), "{failed:#}\n{}", self.process.said());
    }
}

/// Posts JSON as a Segment library does.
pub(super) async fn send(to: SocketAddr, path: &str, event: &Value) -> Reply {
    // base64 of `mock:`
    let headers = [("content-type", "application/json"), ("authorization", "Basic bW9jazo=")];
    request(to, "POST", path, &headers, event.to_string()).await
}

/// A Pipedrive account, over its HTTP API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account(pub(super) SocketAddr);

impl Account {
    /// What `data` holds.
    pub(super) async fn data(&self, path: &str) -> Value {
        let reply = request(self.0, "GET", path, &[("x-api-token", "mock")], "").await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()["data"].take()
    }

    /// A list.
    pub(super) async fn list(&self, path: &str) -> Vec<Value> {
        match self.data(path).await {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => panic!("{path} is no list: {other}"),
        }
    }

    /// The records of a v2 kind whose custom field of that name holds a value.
    pub(super) async fn with(&self, kind: &str, field: &str, value: &str) -> Vec<Value> {
        let singular = kind.strip_suffix('s').expect("a plural");
        let fields = self.list(&format!("/api/v2/{singular}Fields?limit=500")).await;
        let key = fields.iter().find(|f| f["field_name"] == field).and_then(|f| f["field_code"].as_str().map(str::to_owned));
        let key = key.unwrap_or_else(|| panic!("{kind} have no {field}"));
        let all = self.list(&format!("/api/v2/{kind}?limit=500")).await;
        all.into_iter().filter(|record| record["custom_fields"][&key] == value).collect()
    }

    /// The only person with a user id.
    pub(super) async fn person(&self, user: &str) -> Value {
        let mut found = self.with("persons", "Segment User ID", user).await;
        assert_eq!(found.len(), 1, "persons of {user}: {found:#?}");
        found.remove(0)
    }
}
