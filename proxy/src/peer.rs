//! Who is at the other end of a Unix socket. Needs `unsafe`: pingora's stream gives its descriptor as a bare number only.
#![allow(unsafe_code)]

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::os::fd::{BorrowedFd, RawFd};

/// The user id of the process that connected, as the kernel recorded it then
/// (`SO_PEERCRED`, unix(7)).
///
/// # Errors
/// The descriptor is not that of a connected Unix socket.
pub(crate) fn user_id(socket: RawFd) -> nix::Result<u32> {
    // SAFETY: the caller holds the stream that owns the descriptor, so it is open
    // for as long as this call, and nothing here keeps or closes it.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    getsockopt(&socket, PeerCredentials).map(|peer| peer.uid())
}
