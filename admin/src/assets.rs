//! The stylesheet, scripts and icon of the page, embedded in the binary.
//!
//! Their folder is named after the hash of them all, so browsers keep them forever, and scripts can
//! import each other by name.

use std::sync::LazyLock;

use axum::body::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    compression::{BEST, gzip},
    random::short_hex,
};

/// One file.
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: &'static [u8],
    /// The same, compressed when the first page is asked for.
    pub(crate) gzipped: Bytes,
}

/// The file with this name, if `version` is that of this binary.
pub(crate) fn find(version: &str, name: &str) -> Option<&'static Asset> {
    let is_current = version == self::version();
    let mut assets = ASSETS.iter();
    assets.find(|asset| is_current && asset.name == name)
}

/// The folder of the files: 64 bits of their hash.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let all = ASSETS.iter().fold(Sha256::new(), |hash, asset| {
            hash.chain_update(asset.name)
                .chain_update(asset.bytes.len().to_be_bytes())
                .chain_update(asset.bytes)
        });
        short_hex(&all.finalize().into(), 8)
    });
    &VERSION
}

/// Declares files of `admin/assets`, with their media types.
macro_rules! assets {
    ($($name:literal: $media_type:expr,)*) => {
        vec![$(Asset {
            name: $name,
            media_type: $media_type,
            bytes: include_bytes!(concat!("../assets/", $name)),
            gzipped: gzip(include_bytes!(concat!("../assets/", $name)), BEST).into(),
        },)*]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    assets! {
        "checks.js": SCRIPT,
        "icon.svg": "image/svg+xml",
        "key-form.js": SCRIPT,
        "keyside.css": "text/css; charset=utf-8",
        "keyside.js": SCRIPT,
        "notice.js": SCRIPT,
        "preview.js": SCRIPT,
        "session.js": SCRIPT,
    }
});

const SCRIPT: &str = "text/javascript; charset=utf-8";
