//! What a request was made for.

use serde::{Deserialize, Serialize};

use crate::model::named;

/// What a request was made for. `Traffic` unless code in this process says otherwise: no header of
/// a client does.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// A client's request through the proxy.
    #[default]
    Traffic,
    /// A prompt that a person tried out through the admin API.
    Preview,
    /// A smoke run.
    Smoke,
    /// A live check of a key.
    Check,
}

impl RunKind {
    /// Whether it counts as a use of the credential. A check only asks whether it could be used.
    pub(super) fn is_use(self) -> bool {
        self != Self::Check
    }
}

named! {
    RunKind:
    Traffic = "traffic",
    Preview = "preview",
    Smoke = "smoke",
    Check = "check",
}
