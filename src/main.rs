//! The `keyside` binary: composes the data plane and the admin app into one process.

mod app;
mod cli;
mod client;
mod demo;
mod inventory;
mod lifecycle;
mod observe;
mod telemetry;
mod web;

/// Requests allocate little and often; measured against the system's allocator
/// in docs/PERFORMANCE.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
