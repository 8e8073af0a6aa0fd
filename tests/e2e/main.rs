//! Keyside from outside the process: the real binary, raw sockets, one module a subject.

#![allow(
    unreachable_pub,
    reason = "`pub` marks the harness's surface; a test exports nothing"
)]

mod harness;

mod bytes_exact;
