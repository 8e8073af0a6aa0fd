//! What sealed or authenticated data belongs to. The context is not stored with the data: the code
//! that opens it must supply it, so data that was moved elsewhere does not open.

use super::{ALGORITHM, FORMAT};
use crate::model::{ActorId, CredentialId, WorkspaceId};

/// A context, including the purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SealContext<'a> {
    /// The secret of a credential's version.
    Secret {
        workspace: &'a WorkspaceId,
        credential: &'a CredentialId,
        version: u32,
        provider: &'a str,
        /// Empty if the provider has one host for all customers.
        endpoint: &'a str,
    },
    /// The metadata of a version's secret.
    SecretMetadata {
        workspace: &'a WorkspaceId,
        credential: &'a CredentialId,
        version: u32,
    },
    /// A stored document.
    Document { key: &'a str },
    /// Derives a credential's id from an idempotency key.
    CredentialId {
        workspace: &'a WorkspaceId,
        actor: &'a ActorId,
    },
    /// A workspace key, wrapped with a master key.
    WrappedKey {
        installation: &'a str,
        workspace: &'a str,
        key: &'a str,
        signer: &'a str,
    },
    /// The part of an audit record that becomes unreadable when its workspace is erased.
    RecordDetail {
        workspace: &'a WorkspaceId,
        record: u64,
    },
    /// A secret from Vault in the cache on disk.
    CachedSecret {
        /// Vault's address.
        address: &'a str,
        /// Empty if the settings name none.
        namespace: &'a str,
        /// Empty for Vault's default mount.
        mount: &'a str,
        path: &'a str,
        field: &'a str,
        /// The version that the settings pin.
        pinned: Option<u64>,
        credential: &'a CredentialId,
    },
}

impl SealContext<'_> {
    /// The associated data: every field with its length. Format, algorithm and installation come
    /// first. Contexts of different purposes never collide: they differ in the number of fields, or
    /// one has a constant where the other has an id that cannot equal it.
    pub(crate) fn associated_data(&self, installation: &str) -> Vec<u8> {
        let head: [&[u8]; 3] = [&[FORMAT], ALGORITHM.as_bytes(), installation.as_bytes()];
        let own: &[&[u8]] = match self {
            Self::Secret {
                workspace,
                credential,
                version,
                provider,
                endpoint,
            } => &[
                workspace.as_str().as_bytes(),
                credential.as_str().as_bytes(),
                &version.to_be_bytes(),
                provider.as_bytes(),
                endpoint.as_bytes(),
            ],
            Self::SecretMetadata {
                workspace,
                credential,
                version,
            } => &[
                workspace.as_str().as_bytes(),
                credential.as_str().as_bytes(),
                &version.to_be_bytes(),
                b"trace",
            ],
            Self::Document { key } => &[b"document".as_slice(), key.as_bytes()],
            Self::CredentialId { workspace, actor } => &[
                b"credential id".as_slice(),
                workspace.as_str().as_bytes(),
                actor.as_str().as_bytes(),
                b"",
            ],
            // A master key belongs to no installation; the key that it wraps does.
            Self::WrappedKey {
                installation,
                workspace,
                key,
                signer,
            } => &[
                installation.as_bytes(),
                workspace.as_bytes(),
                key.as_bytes(),
                b"wrapped key",
                signer.as_bytes(),
                b"",
            ],
            Self::RecordDetail { workspace, record } => &[
                workspace.as_str().as_bytes(),
                &record.to_be_bytes(),
                b"record detail",
            ],
            Self::CachedSecret {
                address,
                namespace,
                mount,
                path,
                field,
                pinned,
                credential,
            } => &[
                b"cached secret".as_slice(),
                address.as_bytes(),
                namespace.as_bytes(),
                mount.as_bytes(),
                path.as_bytes(),
                field.as_bytes(),
                &pinned.map_or_else(Vec::new, |version| version.to_be_bytes().to_vec()),
                credential.as_str().as_bytes(),
            ],
        };
        fields(head.into_iter().chain(own.iter().copied()))
    }
}

/// Concatenates fields, each with its length (32 bits, big-endian), so that different lists never
/// give the same bytes.
pub(crate) fn fields<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    for field in fields {
        bytes.extend_from_slice(&field_len(field));
        bytes.extend_from_slice(field);
    }
    bytes
}

pub(super) fn field_len(field: &[u8]) -> [u8; 4] {
    // Names and ids are bounded, and documents are far below 4 GiB.
    u32::try_from(field.len())
        .expect("a field below 4 GiB")
        .to_be_bytes()
}
