//! The allocator. Beside `proxy/src/client_socket.rs` the only file with `unsafe`: mimalloc's
//! `mi_collect` has no safe wrapper.
#![allow(unsafe_code)]

/// Requests make many small allocations; docs/PERFORMANCE.md compares mimalloc with the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns the memory that this thread has freed to the system.
pub(crate) fn collect() {
    // SAFETY: takes no pointer, and touches only the allocator's own state of this thread, as any
    // allocation does.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
