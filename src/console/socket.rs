//! The Unix socket through which the command line talks to a running daemon.
//!
//! Invariants: the socket never exists with another mode than 0600; a stale one is replaced in one rename, a live one never;
//! a path longer than the system's limit for socket addresses works all the same where the system gives a way.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The socket's name in the data folder.
pub const SOCKET_NAME: &str = "pipewright.sock";

/// The longest socket address that every system takes (macOS: 104 bytes with the final zero).
const LONGEST: usize = 100;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon answers on it.
    #[error("another daemon is running on this data folder: it answers on {0}")]
    InUse(PathBuf),
    /// Something else stands there.
    #[error("{0} is there and is no socket; move it away")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("the command socket {path} cannot be made: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where the socket of a data folder is.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET_NAME)
}

/// A bound socket. Its file is removed when this is dropped, unless another daemon has replaced it.
#[derive(Debug)]
pub struct CommandSocket {
    path: PathBuf,
    inode: u64,
}

impl Drop for CommandSocket {
    fn drop(&mut self) {
        if std::fs::metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            // A file that stays behind is replaced at the next start.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Binds the socket of a data folder, which must exist. Call it on a runtime.
///
/// # Errors
/// When another daemon answers there, something else stands in the way, or the system refuses.
pub fn bind(data_dir: &Path) -> Result<(UnixListener, CommandSocket), SocketError> {
    let path = socket_path(data_dir);
    let failed = |source| SocketError::Io { path: path.clone(), source };
    refuse_a_live_one(&path)?;

    // Bound in a private folder, so that nobody else can connect before the mode is set, then moved over the stale one.
    let staging = data_dir.join(format!(".sock.{}", std::process::id()));
    if staging.exists() {
        std::fs::remove_dir_all(&staging).map_err(failed)?;
    }
    DirBuilder::new().mode(0o700).create(&staging).map_err(failed)?;
    let bound = bind_private(&staging, &path);
    let cleaned = std::fs::remove_dir_all(&staging);
    let listener = bound.map_err(failed)?;
    cleaned.map_err(failed)?;
    let inode = std::fs::metadata(&path).map_err(failed)?.ino();
    Ok((listener, CommandSocket { path, inode }))
}

fn bind_private(staging: &Path, path: &Path) -> io::Result<UnixListener> {
    let address = Address::of(staging, "s")?;
    let listener = UnixListener::bind(&address.path)?;
    std::fs::set_permissions(staging.join("s"), std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(staging.join("s"), path)?;
    Ok(listener)
}

fn refuse_a_live_one(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed(e)),
        Ok(m) if !m.file_type().is_socket() => Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {
            let address = Address::of_path(path).map_err(failed)?;
            match std::os::unix::net::UnixStream::connect(&address.path) {
                Ok(_) => Err(SocketError::InUse(path.to_owned())),
                Err(_) => Ok(()),
            }
        }
    }
}

/// Connects to a daemon's socket.
///
/// # Errors
/// When nobody answers there.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let address = Address::of_path(path)?;
    UnixStream::connect(&address.path).await
}

/// A path that fits into a socket address. It is valid while this lives.
struct Address {
    path: PathBuf,
    /// Keeps the descriptor open that a shortened path goes through.
    _folder: Option<File>,
}

impl Address {
    fn of_path(path: &Path) -> io::Result<Self> {
        match (path.parent(), path.file_name().and_then(|n| n.to_str())) {
            (Some(folder), Some(name)) if path.as_os_str().len() > LONGEST => Self::of(folder, name),
            _ => Ok(Self { path: path.to_owned(), _folder: None }),
        }
    }

    fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= LONGEST {
            return Ok(Self { path, _folder: None });
        }
        Self::through_descriptor(folder, name)
    }

    /// The folder by its open descriptor, which is short however long the folder's path is.
    #[cfg(target_os = "linux")]
    fn through_descriptor(folder: &Path, name: &str) -> io::Result<Self> {
        use std::os::fd::AsRawFd as _;
        let open = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", open.as_raw_fd()));
        Ok(Self { path, _folder: Some(open) })
    }

    #[cfg(not(target_os = "linux"))]
    fn through_descriptor(folder: &Path, _name: &str) -> io::Result<Self> {
        let text = format!(
            "the path of {} is too long for a socket (at most {LONGEST} bytes); set a shorter data_dir",
            folder.display()
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn answers(listener: &UnixListener, path: &Path) {
        let (client, server) = tokio::join!(connect(path), listener.accept());
        let (mut client, (mut server, _)) = (client.expect("connects"), server.expect("accepts"));
        client.write_all(b"x").await.expect("writes");
        assert_eq!(server.read_u8().await.expect("reads"), b'x');
    }

    #[tokio::test]
    async fn only_the_owner_may_connect_and_the_file_goes_with_the_daemon() {
        let dir = tempfile::tempdir().expect("a folder");
        let (listener, socket) = bind(dir.path()).expect("binds");
        let path = socket_path(dir.path());
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        answers(&listener, &path).await;
        drop(socket);
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = socket_path(dir.path());
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a stale socket"));
        let (listener, _socket) = bind(dir.path()).expect("replaces it");
        answers(&listener, &path).await;
        assert!(matches!(bind(dir.path()), Err(SocketError::InUse(_))));
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(socket_path(dir.path()), "mine").expect("a file");
        assert!(matches!(bind(dir.path()), Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(socket_path(dir.path())).expect("is there"), "mine");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_path_too_long_for_a_socket_address_works() {
        let dir = tempfile::tempdir().expect("a folder");
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).expect("folders");
        let (listener, _socket) = bind(&deep).expect("binds");
        answers(&listener, &socket_path(&deep)).await;
        assert!(matches!(bind(&deep), Err(SocketError::InUse(_))));
    }
}
