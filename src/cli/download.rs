//! Downloads a file of the admin API to disk.

use std::path::Path;

use hyper::Method;

use super::{
    Failure,
    new_file::{NewFile, expect_absent},
};
use crate::client::Client;

/// Requests the file with a POST, and writes it to disk. Without `out` it is named as the response
/// suggests, else `default_name`, in the current folder.
pub(crate) async fn download(
    client: &Client,
    path: &str,
    out: Option<&Path>,
    default_name: &str,
) -> Result<NewFile, Failure> {
    // Checked first, because the request itself may be recorded.
    if let Some(out) = out {
        expect_absent(out)?;
    }
    let mut incoming = client.download(Method::POST, path).await?;
    let out = match (out, incoming.name()) {
        (Some(out), _) => out.to_owned(),
        (None, Some(name)) => name.into(),
        (None, None) => default_name.into(),
    };
    let mut file = NewFile::create(out)?;
    while let Some(chunk) = incoming.next().await? {
        file.write(&chunk)?;
    }
    Ok(file)
}
