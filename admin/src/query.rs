//! Reads query parameters one by one. An unknown parameter is an error, because a misspelt filter
//! would otherwise list too much.

use axum::{
    extract::{FromRequestParts, Query, Request},
    middleware::Next,
    response::Response,
};
use http::request::Parts;

use crate::{
    form::expect_few,
    problem::{FieldError, Kind, Problem},
};

/// Runs once per request, on each route whose description has no parameter. A caller could mean a
/// parameter that is ignored to restrict a change, such as `dryRun=true`.
pub(crate) async fn refuse_parameters(
    query: Parameters,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    query.finish()?;
    Ok(next.run(request).await)
}

/// The parameters of a query, and the errors so far.
pub(crate) struct Parameters {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let given = query.split('&').filter(|parameter| !parameter.is_empty());
        expect_few(given.count(), "parameters", "(the whole query)")?;
        match Query::from_request_parts(parts, state).await {
            Ok(Query(given)) => Ok(Self {
                given,
                known: Vec::new(),
                errors: Vec::new(),
            }),
            Err(_) => Err(Problem::new(
                Kind::RequestMalformed,
                "The query is not a list of names and values.",
                "Send `?name=value&name=value`, percent-encoded.",
            )),
        }
    }
}

impl Parameters {
    /// An optional parameter. The error states the rule and never repeats the value.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(name);
        let mut values = self.given.iter().filter(|(given, _)| given == name);
        let (_, value) = values.next()?;
        let read = match values.next() {
            Some(_) => Err("is repeated".to_owned()),
            None => read(value),
        };
        read.map_err(|detail| self.errors.push(FieldError::parameter(name, detail)))
            .ok()
    }

    /// An optional parameter of a page's filter. A form sends fields that are left empty too.
    pub(crate) fn filter<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let read = |text: &str| match text {
            "" => Ok(None),
            text => read(text).map(Some),
        };
        self.optional(name, read).flatten()
    }

    /// Any text, for a page's filter.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.filter(name, |text| Ok(text.to_owned()))
    }

    /// A parameter that must be present. `None` only if [`Self::finish`] will report it.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.given.iter().any(|(given, _)| given == name) {
            self.errors.push(FieldError::parameter(name, "is missing"));
        }
        self.optional(name, read)
    }

    /// The maximum number of items on a page.
    pub(crate) fn limit(&mut self) -> usize {
        let read = |text: &str| {
            let number = text.parse().ok();
            let number = number.filter(|number| (1..=LIMIT_MAX).contains(number));
            number.ok_or_else(|| format!("expected a number from 1 to {LIMIT_MAX}"))
        };
        self.optional("limit", read).unwrap_or(LIMIT)
    }

    /// The position where the previous page ended, if the query has a cursor.
    pub(crate) fn cursor<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.optional("cursor", |text| {
            let unknown = || "is not a cursor of this list; start again without one".to_owned();
            read(text).ok_or_else(unknown)
        })
    }

    /// Succeeds if all parameters are known and valid.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let unknown = |(name, _): &&(String, String)| !self.known.contains(&name.as_str());
        if self.given.iter().any(|pair| unknown(&pair)) {
            // The name is not repeated: it may be a key that was pasted into the address bar.
            let detail = match self.known.as_slice() {
                [] => "there are no parameters here".to_owned(),
                known => format!("the parameters here are {}", known.join(", ")),
            };
            self.errors
                .push(FieldError::parameter("(unknown parameter)", detail));
        }
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Problem::fields(self.errors)),
        }
    }
}

/// The default number of items on a page.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;
