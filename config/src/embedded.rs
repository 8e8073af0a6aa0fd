//! Data files that are compiled into the binary.

/// The files `FOLDER/ID.toml` as a list of `(id, text)`.
macro_rules! embedded {
    ($folder:literal: $($id:literal)*) => {
        &[$(($id, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $id, ".toml"))),)*]
    };
}

pub(crate) use embedded;
