//! The form in which `[proxy]` is written.

use std::iter;

use http::HeaderName;
use serde::Deserialize;

use super::{
    AcceptEncoding, Deadlines, EnvironmentPin, Limits, Listener, Proxy, listen::ListenEntry,
};
use crate::{ListenAddress, base_url, field, layers::Mismatch, parsed, slug};

/// The header that carries the workspace tag by default.
const WORKSPACE: HeaderName = HeaderName::from_static("x-keyside-workspace");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::settings) struct ProxyDocument {
    #[serde(deserialize_with = "parsed::texts_or_tables")]
    listen: Vec<ListenEntry>,
    #[serde(deserialize_with = "parsed::within::<_, _, 0, 1_024>")]
    threads: usize,
    workspaces: Vec<String>,
    environment: EnvironmentPin,
    peer_uids: Vec<u32>,
    hosts: Vec<String>,
    #[serde(deserialize_with = "parsed::texts")]
    tag_headers: Vec<HeaderName>,
    accept_encoding: AcceptEncoding,
    deadlines: Deadlines,
    limits: Limits,
}

impl ProxyDocument {
    pub(in crate::settings) fn settle(mut self) -> Result<Proxy, Mismatch> {
        let entries = std::mem::take(&mut self.listen);
        let listeners: Vec<_> = entries
            .into_iter()
            .map(|entry| self.listener(entry))
            .collect();
        check_listeners(&listeners)?;
        Ok(Proxy {
            listeners,
            threads: self.threads,
            hosts: hosts(&self.hosts)?,
            tag_headers: tag_headers(self.tag_headers)?,
            accept_encoding: self.accept_encoding,
            deadlines: self.deadlines,
            limits: self.limits,
        })
    }

    fn listener(&self, entry: ListenEntry) -> Listener {
        Listener {
            address: entry.address,
            workspaces: entry.workspaces.unwrap_or_else(|| self.workspaces.clone()),
            environment: entry.environment.unwrap_or(self.environment),
            peer_uids: entry.peer_uids.unwrap_or_else(|| self.peer_uids.clone()),
        }
    }
}

/// At least one, all different, each with a guard that can work.
fn check_listeners(listeners: &[Listener]) -> Result<(), Mismatch> {
    if listeners.is_empty() {
        return Err(Mismatch::new(
            "proxy.listen",
            "expected at least one address",
        ));
    }
    for (
        index,
        Listener {
            address,
            workspaces,
            peer_uids,
            ..
        },
    ) in listeners.iter().enumerate()
    {
        let chosen_by_system = matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == 0);
        if !chosen_by_system
            && listeners[..index]
                .iter()
                .any(|other| other.address == *address)
        {
            return Err(Mismatch::new("proxy.listen", "an address is listed twice"));
        }
        if !peer_uids.is_empty() && matches!(address, ListenAddress::Tcp(_)) {
            let reason =
                "a TCP connection tells no user id; name them in the entry of a unix: address";
            return Err(Mismatch::new("proxy.peer_uids", reason));
        }
        if !workspaces.iter().all(|workspace| slug::is_slug(workspace)) {
            return Err(Mismatch::new(
                "proxy.workspaces",
                "a workspace id is 1 to 64 of a-z, 0-9 and -",
            ));
        }
    }
    Ok(())
}

fn hosts(names: &[String]) -> Result<Vec<String>, Mismatch> {
    let valid = names.iter().all(|name| base_url::is_host(name));
    let hosts = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    valid
        .then_some(hosts)
        .ok_or_else(|| Mismatch::new("proxy.hosts", "expected host names without a port"))
}

fn tag_headers(further: Vec<HeaderName>) -> Result<Vec<HeaderName>, Mismatch> {
    match further
        .iter()
        .any(|name| field::is_reserved(name) || field::is_credential(name))
    {
        true => Err(Mismatch::new(
            "proxy.tag_headers",
            "one of them has another meaning in HTTP",
        )),
        false => Ok(iter::once(WORKSPACE)
            .chain(further.into_iter().filter(|name| *name != WORKSPACE))
            .collect()),
    }
}
