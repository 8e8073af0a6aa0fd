//! Creates Unix sockets and their folders, with access rights set before anybody can connect.

use std::{
    fs::{self, DirBuilder, Permissions},
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

/// Binds a socket with `mode` at `path`, and creates missing folders.
pub(super) fn bind(path: &Path, mode: u32, all: &[Listener]) -> io::Result<UnixListener> {
    make_folders(path.parent().unwrap_or(Path::new("/")), all)?;
    remove_stale(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    // `chmod` before `listen`: until then nobody can connect, so the default mode never applies to
    // a connection.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket::listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket.into())
}

/// The mode of a listener's socket. Only this user may connect; if user ids are configured, anybody
/// may, and each connection's user id is checked with the kernel.
pub(super) fn mode(listener: &Listener) -> u32 {
    match listener.peer_uids.is_empty() {
        true => 0o600,
        false => 0o666,
    }
}

/// Existing folders keep their mode.
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
        true => fs::set_permissions(folder, Permissions::from_mode(0o711)),
        false => Ok(()),
    }
}

/// Whether another user that some listener accepts must be able to pass through the folder.
fn lets_others_through(listener: &Listener, folder: &Path) -> bool {
    match &listener.address {
        ListenAddress::Unix(path) => !listener.peer_uids.is_empty() && path.starts_with(folder),
        ListenAddress::Tcp(_) => false,
    }
}

/// Removes a socket that a killed process left behind, and no other kind of file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is not a socket exists there",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
