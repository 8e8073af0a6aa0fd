//! Reads the wanted counts out of a usage object and skips the rest of it.

use keyside_config::UsageRule;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// What one object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
}

impl Counts {
    /// Reads the object that `json` begins with; also returns where it ends.
    pub(super) fn read(rule: &UsageRule, json: &[u8]) -> serde_json::Result<(Self, usize)> {
        let mut json = serde_json::Deserializer::from_slice(json);
        let counts = Wanted(rule).deserialize(&mut json)?;
        Ok((counts, json.into_iter::<IgnoredAny>().byte_offset()))
    }
}

/// The fields that a rule names.
struct Wanted<'a>(&'a UsageRule);

/// One count on its way: of several names for it, the first in the rule wins.
#[derive(Default)]
struct Best(Option<(usize, u64)>);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Counts;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Counts, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Counts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with token counts")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Counts, M::Error> {
        let (mut input, mut output) = (Best::default(), Best::default());
        while let Some((as_input, as_output)) = fields.next_key_seed(&self)? {
            if as_input.or(as_output).is_none() {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            let count = whole_number(&fields.next_value()?);
            input.offer(as_input, count);
            output.offer(as_output, count);
        }
        Ok(Counts {
            input: input.count(),
            output: output.count(),
        })
    }
}

/// A field's name, as its places in the rule's lists of names.
impl<'de> DeserializeSeed<'de> for &Wanted<'_> {
    type Value = (Option<usize>, Option<usize>);

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for &Wanted<'_> {
    type Value = (Option<usize>, Option<usize>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let place = |names: &[String]| names.iter().position(|known| known == name);
        Ok((place(&self.0.input), place(&self.0.output)))
    }
}

impl Best {
    fn offer(&mut self, place: Option<usize>, count: Option<u64>) {
        let offered = place.zip(count);
        if let Some((place, _)) = offered
            && self.0.is_none_or(|(best, _)| place < best)
        {
            self.0 = offered;
        }
    }

    fn count(self) -> Option<u64> {
        self.0.map(|(_, count)| count)
    }
}

/// Cohere writes its counts as floating-point numbers.
fn whole_number(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|count| (0.0..1e15).contains(count));
    value
        .as_u64()
        .or_else(|| fraction().map(|count| count as u64))
}
