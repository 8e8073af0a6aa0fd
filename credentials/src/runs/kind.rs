//! What a request was made for.

use crate::model::named;

named! {
    /// What a request was made for. `Traffic` unless code in this process says otherwise: no header of
    /// a client does.
    #[derive(Default)]
    pub enum RunKind {
        /// A client's request through the proxy.
        #[default]
        Traffic = "traffic",
        /// A prompt that a person tried out through the admin API.
        Preview = "preview",
        /// A smoke run.
        Smoke = "smoke",
        /// A live check of a key.
        Check = "check",
    }
}

impl RunKind {
    /// Whether it counts as a use of the credential. A check only asks whether it could be used.
    pub(super) fn is_use(self) -> bool {
        self != Self::Check
    }
}
