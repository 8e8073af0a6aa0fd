//! `[proxy]` as written in TOML.

use std::{iter, str::FromStr};

use http::HeaderName;
use serde::Deserialize;

use super::{AcceptEncoding, Deadlines, EnvironmentPin, Limits, Listener, Proxy};
use crate::{
    address::{AddressError, ListenAddress},
    base_url::Host,
    field,
    headers::WORKSPACE,
    layers::Mismatch,
    parsed::{self, from_text},
    slug::Slug,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::settings) struct ProxyDocument {
    #[serde(deserialize_with = "parsed::texts_or_tables")]
    listen: Vec<ListenEntry>,
    #[serde(deserialize_with = "parsed::within::<_, _, 0, 1_024>")]
    threads: usize,
    workspaces: Vec<Slug>,
    environment: EnvironmentPin,
    peer_uids: Vec<u32>,
    hosts: Vec<Host>,
    tag_headers: Vec<TagHeader>,
    accept_encoding: AcceptEncoding,
    deadlines: Deadlines,
    limits: Limits,
}

impl ProxyDocument {
    pub(in crate::settings) fn build(mut self) -> Result<Proxy, Mismatch> {
        Ok(Proxy {
            listeners: self.listeners()?,
            threads: self.threads,
            hosts: self.hosts.into_iter().map(|Host(name)| name).collect(),
            tag_headers: tag_headers(self.tag_headers),
            accept_encoding: self.accept_encoding,
            deadlines: self.deadlines,
            limits: self.limits,
        })
    }

    /// Builds the listeners: at least one, all with different addresses.
    fn listeners(&mut self) -> Result<Vec<Listener>, Mismatch> {
        let wrong = |reason| Err(Mismatch::new("proxy.listen", reason));
        let mut listeners: Vec<Listener> = Vec::new();
        for entry in std::mem::take(&mut self.listen) {
            let listener = self.listener(entry)?;
            let chosen_by_system = listener.address.port() == Some(0);
            let taken = listeners
                .iter()
                .any(|other| other.address == listener.address);
            if taken && !chosen_by_system {
                return wrong("an address is listed twice");
            }
            listeners.push(listener);
        }
        match listeners.is_empty() {
            true => wrong("expected at least one address"),
            false => Ok(listeners),
        }
    }

    /// Builds a listener; settings that the entry does not have come from `[proxy]`.
    fn listener(&self, entry: ListenEntry) -> Result<Listener, Mismatch> {
        let set_in = match entry.peer_uids {
            Some(_) => "proxy.listen",
            None => "proxy.peer_uids",
        };
        let peer_uids = entry.peer_uids.unwrap_or_else(|| self.peer_uids.clone());
        if !peer_uids.is_empty() && matches!(entry.address, ListenAddress::Tcp(_)) {
            let reason = "a TCP connection tells no user id; name them for a unix: address";
            return Err(Mismatch::new(set_in, reason));
        }
        let workspaces = entry.workspaces.as_ref().unwrap_or(&self.workspaces);
        Ok(Listener {
            address: entry.address,
            workspaces: workspaces.iter().map(|Slug(id)| id.clone()).collect(),
            environment: entry.environment.unwrap_or(self.environment),
            peer_uids,
        })
    }
}

/// An entry of `proxy.listen`: an address, or a table with an address and what requests through it
/// may use. Settings that are missing here come from `[proxy]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenEntry {
    address: ListenAddress,
    workspaces: Option<Vec<Slug>>,
    environment: Option<EnvironmentPin>,
    peer_uids: Option<Vec<u32>>,
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

/// A header that may carry the workspace tag.
struct TagHeader(HeaderName);

from_text!(TagHeader);

impl FromStr for TagHeader {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.parse::<HeaderName>() {
            Err(_) => Err("expected the name of a header"),
            Ok(name) if field::is_reserved(&name) => Err("this header has another meaning in HTTP"),
            Ok(name) if field::is_credential_header(&name) => {
                Err("a header of this name can carry a key, and a workspace is written to logs")
            }
            Ok(name) => Ok(Self(name)),
        }
    }
}

/// The configured headers without duplicates, after the default one.
fn tag_headers(further: Vec<TagHeader>) -> Vec<HeaderName> {
    let further = further.into_iter().map(|TagHeader(name)| name);
    iter::once(WORKSPACE)
        .chain(further.filter(|name| *name != WORKSPACE))
        .collect()
}
