//! An entry of `proxy.listen`: an address, or a table with an address and what requests through it
//! may use.

use std::str::FromStr;

use serde::Deserialize;

use super::EnvironmentPin;
use crate::{
    address::{AddressError, ListenAddress},
    slug::Slug,
};

/// Settings that are missing here come from `[proxy]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenEntry {
    pub(super) address: ListenAddress,
    pub(super) workspaces: Option<Vec<Slug>>,
    pub(super) environment: Option<EnvironmentPin>,
    pub(super) peer_uids: Option<Vec<u32>>,
}

impl FromStr for ListenEntry {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        Ok(Self {
            address: address.parse()?,
            workspaces: None,
            environment: None,
            peer_uids: None,
        })
    }
}
