//! What bodies and queries look like, in types that are only described: what comes in is read without them.

pub(crate) mod bodies;
pub(crate) mod queries;
pub(crate) mod words;
