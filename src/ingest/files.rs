//! How many connections the system lets the event listener hold.
//!
//! Invariants: an open connection is an open file; [`KEPT`] files stay free for the store, requests to Pipedrive, the admin API and reading
//! scripts, so that idle clients cannot take those.

/// Files that are not for clients.
const KEPT: usize = 200;

/// What is taken at once whatever the system allows.
const LEAST: usize = 16;

/// Lets this process open as many files as the system allows it at most. For the program's start: it is the whole process's setting.
#[cfg(unix)]
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused the limit stays as it is, and the listener takes fewer connections.
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
}

/// Lets this process open as many files as the system allows it at most.
#[cfg(not(unix))]
pub fn raise_file_limit() {}

/// How many connections may be open, where so many are wished for.
pub(super) fn connections(wished: usize) -> usize {
    let Some(files) = limit() else { return wished };
    let room = files.saturating_sub(KEPT).max(LEAST);
    if room < wished {
        tracing::warn!(
            max_connections = wished,
            files,
            connections = room,
            "this process may open fewer files than server.max_connections asks for, so fewer connections are taken at once; raise the \
             limit (`ulimit -n`, LimitNOFILE= of the unit), or lower server.max_connections"
        );
    }
    room.min(wished)
}

#[cfg(unix)]
fn limit() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|files| usize::try_from(files).ok())
}

#[cfg(not(unix))]
const fn limit() -> Option<usize> {
    None
}
