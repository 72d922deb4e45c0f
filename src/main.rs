//! Wiring only: the allocator and the command line.

use std::process::ExitCode;

/// Many small, short-lived values (JSON, script values) on many threads: the system's allocator is markedly slower at those.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pipewright::cli::main()
}
