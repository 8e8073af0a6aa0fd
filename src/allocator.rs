//! The allocator, and the one thing we ask of it. Beside `proxy/src/client_socket.rs` the only file with `unsafe` in it:
//! mimalloc's `mi_collect` has no safe wrapper.
#![allow(unsafe_code)]

/// Requests allocate little and often; measured against the system's allocator
/// in docs/PERFORMANCE.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns what this thread no longer uses to the system.
pub(crate) fn collect() {
    // SAFETY: takes no pointer, and touches nothing but the allocator's own state of this thread, as any allocation does.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
