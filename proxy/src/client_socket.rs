//! What the kernel knows of a client's socket, or is told about it: who connected, how much of what was written the client
//! has not taken yet, how it is closed. Needs `unsafe`: pingora's stream gives its descriptor as a bare number
//! only, and nix has no safe call for the request about unsent bytes.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{getsockopt, setsockopt, sockopt},
};
use pingora_core::protocols::Stream;

/// The user id of the process that connected, as the kernel recorded it then
/// (`SO_PEERCRED`, unix(7)).
///
/// # Errors
/// The descriptor is not that of a connected Unix socket.
pub(crate) fn user_id(client: &Stream) -> nix::Result<u32> {
    getsockopt(&descriptor(client), sockopt::PeerCredentials).map(|peer| peer.uid())
}

/// [`unacknowledged`] of a client's connection.
pub(crate) fn unacknowledged_by(client: &Stream) -> Option<usize> {
    unacknowledged(&descriptor(client))
}

/// Lets a TCP connection end in a reset instead of a clean end (`SO_LINGER` of 0, socket(7)). What the client has not
/// acknowledged by then is lost. A Unix socket has no such end, and is closed as usual.
pub(crate) fn reset_when_closed(client: &Stream) {
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _ = setsockopt(&descriptor(client), sockopt::Linger, &at_once);
}

/// How many of the bytes that were written to a socket its peer has not taken yet: of a TCP socket, those that the peer's
/// kernel has not acknowledged (`SIOCOUTQ`, tcp(7)); of a Unix socket, those that the peer has not read, with what the kernel
/// needs to keep them. `None` where the kernel does not tell.
pub fn unacknowledged<S: AsFd>(socket: &S) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SIOCOUTQ has the number of TIOCOUTQ (linux/sockios.h), which is the one that libc names.
    // SAFETY: the request writes one `int`, to a place that outlives the call, and the descriptor is borrowed for as long.
    let answered =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    Errno::result(answered).ok()?;
    usize::try_from(bytes).ok()
}

fn descriptor(client: &Stream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns the descriptor, so it is open for as long as the stream is borrowed. It is never -1, which
    // pingora gives for streams that have none: those of a listener have one.
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

    /// Fills what there is between the two ends, and expects that reading at one of them shows at the other.
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
            // It would wait for ever once everything was read without a trace at the other end.
            assert!(reader.read(&mut piece).expect("bytes that were written") > 0);
        }
    }

    #[test]
    fn what_the_peer_of_a_tcp_connection_reads_shows() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (writer, _) = listener.accept().unwrap();
        writer.set_nonblocking(true).unwrap();
        check_reading_shows(writer, reader);
    }

    #[test]
    fn what_the_peer_of_a_unix_socket_reads_shows() {
        let (writer, reader) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        check_reading_shows(writer, reader);
    }
}
