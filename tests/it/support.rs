//! What tests share: folders, sockets, waiting, captured logs, the binary.

pub(crate) mod account;
pub(crate) mod binary;
pub(crate) mod days;
pub(crate) mod overheard;
pub(crate) mod receiver;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A free folder, gone when dropped. Its path is short enough for a Unix socket.
pub(crate) fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("pw").tempdir().expect("a temporary folder")
}

/// Writes a file below `dir`, with the folders that it needs.
pub(crate) fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    std::fs::write(path, text).expect("a file");
}

/// A listener on a free loopback port.
pub(crate) async fn loopback() -> (tokio::net::TcpListener, SocketAddr) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    (listener, addr)
}

/// How long a test waits for what must come: no test needs as long; a machine under load may.
pub(crate) const CAP: Duration = Duration::from_secs(30);

/// Waits for `coming`. Fails the test, naming `what`, after a generous cap.
pub(crate) async fn in_time<T>(what: &str, coming: impl Future<Output = T>) -> T {
    match tokio::time::timeout(CAP, coming).await {
        Ok(came) => came,
        Err(_) => panic!("waited in vain until {what}"),
    }
}

/// Asks `probe` again and again until it gives something. Fails the test, naming `what`, after a generous cap.
pub(crate) async fn wait_until<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    wait_or(probe, || async { format!("waited in vain until {what}") }).await
}

/// The same, with what is to be said after the cap.
pub(crate) async fn wait_or<T, F, S>(mut probe: impl FnMut() -> F, said: impl FnOnce() -> S) -> T
where
    F: Future<Output = Option<T>>,
    S: Future<Output = String>,
{
    let asking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tick.tick().await;
        }
    };
    match tokio::time::timeout(CAP, asking).await {
        Ok(found) => found,
        Err(_) => panic!("{}", said().await),
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {:?}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, or `""`.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }
}

/// One keep-alive HTTP/1.1 connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects over TCP.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        Self::over(stream, addr.to_string()).await
    }

    /// Speaks over any stream.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, host: String) -> Self {
        Self::try_over(stream, host).await.expect("a handshake")
    }

    /// The same; none when the other side is gone already.
    pub(crate) async fn try_over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, host: String) -> Option<Self> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        // A connection that the server closes ends with an error here; the request that it hits says so.
        tokio::spawn(async move { drop(connection.await) });
        Some(Self { sender, host })
    }

    /// Sends one request and reads the whole answer. A `host` among the headers replaces the own one.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.try_send(method, path, headers, body).await.expect("an answer")
    }

    /// The same; the error is the connection's end.
    pub(crate) async fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, hyper::Error> {
        self.sender.ready().await?;
        let mut request = http::Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", &self.host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.sender.send_request(request.body(Full::new(body.into())).expect("a request")).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// A connection whose bytes the test writes itself.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.expect("a connection"))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// The next answer: status line and headers in lower case, and the body. None when the connection ended instead.
    pub(crate) async fn answer(&mut self) -> Option<(String, String)> {
        in_time("an answer or the end comes", self.read_answer()).await
    }

    async fn read_answer(&mut self) -> Option<(String, String)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return None,
            }
        }
        let head = String::from_utf8(head).expect("text").to_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().expect("a length"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("the body");
        Some((head, String::from_utf8(body).expect("text")))
    }

    /// Waits until the other side has closed.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        drop(in_time("the other side closes", self.0.read_to_end(&mut rest)).await);
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
}

/// One request on a connection of its own.
pub(crate) async fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    Connection::open(addr).await.send(method, path, headers, body).await
}

/// A GET on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Reply {
    request(addr, "GET", path, &[], "").await
}

/// A POST of JSON on a connection of its own.
pub(crate) async fn post_json(addr: SocketAddr, path: &str, body: &Value) -> Reply {
    request(addr, "POST", path, &[("content-type", "application/json")], body.to_string()).await
}

/// The log lines of the current thread, from [`Logs::capture`] until it is dropped. Tests on a multi-threaded runtime see only their own
/// thread's.
pub(crate) struct Logs {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Logs {
    /// Captures at level debug and above.
    pub(crate) fn capture() -> Self {
        // While only one subscriber lives, `tracing` asks the thread that reaches a call site first whether anybody listens there, and
        // another test's thread says no for all. These two make it ask everybody.
        static LISTENERS: std::sync::OnceLock<[tracing::Dispatch; 2]> = std::sync::OnceLock::new();
        LISTENERS.get_or_init(|| std::array::from_fn(|_| tracing::Dispatch::new(tracing_subscriber::registry())));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || Sink(Arc::clone(&sink)))
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// All so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.lock()).into_owned()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        overheard::nothing_told(&self.text());
    }
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// That an answer carries the security headers, each once, with this content security policy, and no `Server` banner.
pub(crate) fn hardened(headers: &http::HeaderMap, policy: &str) {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        let given: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(given, [value], "{name}: {headers:?}");
    }
    assert_eq!(headers.get("server"), None);
}
