//! Text encodings: hex for values that people compare, base64 for opaque bytes.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};

pub(crate) use keyside_store::hex;

pub(crate) mod base64_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{BASE64_STANDARD, Cow, Engine};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, B: From<Vec<u8>>>(
        deserializer: D,
    ) -> Result<B, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text.as_bytes());
        bytes
            .map(B::from)
            .map_err(|_| D::Error::custom("not base64"))
    }
}
