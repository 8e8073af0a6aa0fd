//! Kernel facts about a client's socket: who connected, how much of what was written is
//! unacknowledged, and how it is closed.
//!
//! Needs `unsafe`: pingora's stream exposes its descriptor only as a number, and nix has no safe
//! wrapper for the unsent bytes request.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{getsockopt, setsockopt, sockopt},
};
use pingora::protocols::Stream;

/// The user id of the connected process, as the kernel recorded it at connect (`SO_PEERCRED`,
/// unix(7)).
///
/// # Errors
/// The descriptor is not a connected Unix socket.
pub(crate) fn user_id(client: &Stream) -> nix::Result<u32> {
    getsockopt(&descriptor(client), sockopt::PeerCredentials).map(|peer| peer.uid())
}

/// [`unacknowledged`] of a client's connection.
pub(crate) fn unacknowledged_by(client: &Stream) -> Option<usize> {
    unacknowledged(&descriptor(client))
}

/// Makes a TCP connection end in a reset (`SO_LINGER` of 0, socket(7)). Bytes that the client has
/// not acknowledged by then are lost. Unix sockets have no reset and are closed as usual.
pub(crate) fn reset_when_closed(client: &Stream) {
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _ = setsockopt(&descriptor(client), sockopt::Linger, &at_once);
}

/// Bytes written to a socket that its peer has not taken yet. For TCP: not acknowledged by the
/// peer's kernel (`SIOCOUTQ`, tcp(7)). For a Unix socket: not read by the peer, including the
/// kernel's bookkeeping. `None` if the kernel does not tell.
pub fn unacknowledged<S: AsFd>(socket: &S) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SIOCOUTQ has the same number as TIOCOUTQ (linux/sockios.h), and libc only defines the latter.
    // SAFETY: the request writes one `int` into a variable that outlives the call, and the
    // descriptor is borrowed for as long.
    let answered =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    Errno::result(answered).ok()?;
    usize::try_from(bytes).ok()
}

fn descriptor(client: &Stream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns the descriptor, so it is open while the stream is borrowed. It is
    // never -1, which pingora returns for streams without a descriptor: a listener's streams have
    // one.
    unsafe { BorrowedFd::borrow_raw(client.id()) }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{TcpListener, TcpStream},
        os::unix::net::UnixStream,
    };

    use super::*;

    /// Fills the buffers between the two ends, then checks that reading at one end is visible at
    /// the other.
    fn check_reading_shows(mut writer: impl Write + AsFd, mut reader: impl Read) {
        assert_eq!(unacknowledged(&writer), Some(0));
        loop {
            match writer.write(&[0; 64 * 1024]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let full = unacknowledged(&writer);
        assert!(full > Some(0), "{full:?}");
        let mut piece = vec![0; 64 * 1024];
        while unacknowledged(&writer) >= full {
            // Fails instead of blocking if everything was read and the writer saw no change.
            assert!(reader.read(&mut piece).expect("bytes that were written") > 0);
        }
    }

    #[test]
    fn reading_at_one_end_of_a_tcp_connection_is_visible_at_the_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (writer, _) = listener.accept().unwrap();
        writer.set_nonblocking(true).unwrap();
        check_reading_shows(writer, reader);
    }

    #[test]
    fn reading_at_one_end_of_a_unix_socket_is_visible_at_the_other() {
        let (writer, reader) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        check_reading_shows(writer, reader);
    }
}
