//! Limits on spend on the wire, and what was spent.

use std::{fmt, marker::PhantomData, num::NonZeroU64};

use keyside_credentials as domain;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::ToSchema;

use super::read::within;
use crate::schemas::types;

/// What requests may spend in a UTC day. Null is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// The number of requests.
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000000000u64)]
    pub requests_per_day: Option<NonZeroU64>,
    /// The number of input and output tokens.
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000000000u64)]
    pub tokens_per_day: Option<NonZeroU64>,
}

/// Changes to limits. Null removes a limit, and an absent one stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsEdit {
    /// The number of requests.
    #[serde(default, deserialize_with = "changed_limit")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000000000u64)]
    pub requests_per_day: Option<Option<NonZeroU64>>,
    /// The number of input and output tokens.
    #[serde(default, deserialize_with = "changed_limit")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000000000000u64)]
    pub tokens_per_day: Option<Option<NonZeroU64>>,
}

/// What was spent since 00:00 UTC, as far as there is a limit for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    /// Requests; null without a limit on them.
    pub requests_today: Option<u64>,
    /// Input and output tokens; null without a limit on them.
    pub tokens_today: Option<u64>,
    /// `warning` from 80 % of a limit on. At a limit, `exhausted`: requests are refused until 00:00
    /// UTC.
    #[schema(value_type = types::UsageState)]
    pub state: domain::UsageState,
}

impl Limits {
    /// `None` if nothing is limited.
    pub(crate) fn of(limits: domain::Limits) -> Option<Self> {
        (!limits.is_none()).then_some(Self {
            requests_per_day: limits.requests_per_day,
            tokens_per_day: limits.tokens_per_day,
        })
    }

    pub(crate) fn into_domain(self) -> domain::Limits {
        domain::Limits {
            requests_per_day: self.requests_per_day,
            tokens_per_day: self.tokens_per_day,
        }
    }
}

impl LimitsEdit {
    pub(crate) fn into_domain(self) -> domain::LimitsChange {
        domain::LimitsChange {
            requests_per_day: self.requests_per_day,
            tokens_per_day: self.tokens_per_day,
        }
    }
}

impl UsageView {
    pub(crate) fn of(usage: domain::Usage) -> Self {
        Self {
            requests_today: usage.requests_today,
            tokens_today: usage.tokens_today,
            state: usage.state,
        }
    }
}

/// Limits that may be absent or null.
pub(super) fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Limits>, D::Error> {
    let read = Option::<Object<Limits>>::deserialize(from).map_err(|_| expected::<D::Error>())?;
    Ok(read.map(|Object(limits)| limits))
}

/// Changed limits: null removes all.
pub(super) fn changed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LimitsEdit>, D::Error> {
    let read = Option::<Object<LimitsEdit>>::deserialize(from);
    let read = read.map_err(|_| expected::<D::Error>())?;
    let removed = LimitsEdit {
        requests_per_day: Some(None),
        tokens_per_day: Some(None),
    };
    Ok(Some(read.map_or(removed, |Object(edit)| edit)))
}

fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NonZeroU64>, D::Error> {
    within::<_, _, 1, { domain::Limits::MAX }>(from)
}

fn changed_limit<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<NonZeroU64>>, D::Error> {
    limit(from).map(Some)
}

/// serde names no field inside of an object.
fn expected<E: Error>() -> E {
    E::custom(format!(
        "expected an object with `requestsPerDay` and `tokensPerDay`, each an integer from 1 to {} or null",
        domain::Limits::MAX
    ))
}

/// Only an object: serde also reads a struct from an array of its fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}
