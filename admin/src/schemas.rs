//! Types that only describe bodies and queries to OpenAPI. `wire.rs` has those that are read and
//! written.

pub(crate) mod bodies;
pub(crate) mod queries;
pub(crate) mod types;
