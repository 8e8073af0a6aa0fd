//! The `keyside` binary: composes the data plane and the admin app into one process.

mod allocator;
mod app;
mod backing;
mod cli;
mod client;
mod declared;
mod demo;
mod descriptors;
mod failure;
mod kms;
mod kms_wait;
mod lifecycle;
mod metrics;
mod observe;
mod startup;
mod telemetry;
mod terminal;
mod unreadable;
mod validated_settings;
mod vault;
mod warnings;
mod web;
mod webhooks;

fn main() -> std::process::ExitCode {
    // Huge pages save few TLB misses and cost 45 MB: the allocator requests them, and each part of
    // the process would touch a little of its own.
    let _ = nix::sys::prctl::set_thp_disable(true);
    cli::run()
}
