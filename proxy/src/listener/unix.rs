//! Unix sockets that nobody reaches before their mode says who may, and the folders for them.

use std::{
    fs::{DirBuilder, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
            net::UnixListener,
        },
    },
    path::Path,
};

use keyside_config::{ListenAddress, Listener};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};

/// Binds the socket at `path`, which `mode` lets in, and makes the folders for it that are missing.
pub(super) fn bind(path: &Path, mode: u32, all: &[Listener]) -> io::Result<UnixListener> {
    make_folders(path.parent().unwrap_or(Path::new("/")), all)?;
    remove_stale(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    // Nobody can connect before it listens, so there is no moment in which the wrong ones could.
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket::listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket.into())
}

/// The mode of a listener's socket: for this user alone; or for anybody, where user ids are named: then each connection is
/// judged by the one that the kernel gives.
pub(super) fn mode(listener: &Listener) -> u32 {
    match listener.peer_uids.is_empty() {
        true => 0o600,
        false => 0o666,
    }
}

/// One that is there stays as it is.
fn make_folders(folder: &Path, all: &[Listener]) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make_folders(folder.parent().unwrap_or(Path::new("/")), all)?;
    DirBuilder::new().mode(0o700).create(folder)?;
    match all
        .iter()
        .any(|listener| lets_others_through(listener, folder))
    {
        true => std::fs::set_permissions(folder, Permissions::from_mode(0o711)),
        false => Ok(()),
    }
}

/// Whether peers that are named have to pass through the folder, whichever listener it is made for.
fn lets_others_through(listener: &Listener, folder: &Path) -> bool {
    match &listener.address {
        ListenAddress::Unix(path) => !listener.peer_uids.is_empty() && path.starts_with(folder),
        ListenAddress::Tcp(_) => false,
    }
}

/// A socket that a killed process left behind goes; any other file stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file is in the way",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
