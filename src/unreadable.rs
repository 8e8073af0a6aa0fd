//! The remedy for a file that a setting names and that cannot be read.

use std::{fs, path::Path};

/// Links are how a mounted secret is replaced, so the one that leads nowhere is named.
pub(crate) fn remedy(path: &Path) -> String {
    let mut above = path.ancestors();
    let broken = above.find(|path| path.is_symlink() && !path.exists());
    match broken.and_then(|link| Some((link, fs::read_link(link).ok()?))) {
        Some((link, target)) => format!(
            "{} is a link to {}, which cannot be reached: restore that, or correct the link or the path",
            link.display(),
            target.display()
        ),
        None => "correct the path, or let the user that Keyside runs as read the file".to_owned(),
    }
}
