//! Parses a choice by the name that the API has for it, such as `live`.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use keyside_credentials::Environment;
use serde::de::{DeserializeOwned, value::StringDeserializer};

/// A parser of `names`, which `--help` lists.
pub(super) fn choice<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: impl IntoIterator<Item: Into<PossibleValue>>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names)
        .try_map(|name| T::deserialize(StringDeserializer::<serde::de::value::Error>::new(name)))
}

/// A parser of `live` and `sandbox`.
pub(super) fn environment() -> impl TypedValueParser<Value = Environment> {
    choice(Environment::ALL.map(Environment::as_str))
}
