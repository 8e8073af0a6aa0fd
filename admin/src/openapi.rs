//! The OpenAPI 3.1 description, built from the routes' `#[utoipa::path]` and from what all routes
//! share.

use std::sync::LazyLock;

use http::Method;
use utoipa::{
    OpenApi,
    openapi::{
        Content, HttpMethod, Ref, RefOr, Required, Response, ResponseBuilder, SecurityRequirement,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    problem::ProblemDocument,
    routes::{self, Route},
};

/// The description as JSON, as `/openapi.json` and `keyside openapi` return it.
pub fn openapi() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        let mut json = describe().to_pretty_json().unwrap_or_default();
        json.push('\n');
        json
    });
    &JSON
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyside admin API",
        description = "Create, rotate and revoke provider keys, control access, and read the audit log.\n\n\
            Errors are problem documents (RFC 9457) with a stable `type`; docs/API.md lists them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemDocument)),
    tags(
        (name = "credentials", description = "Provider keys. No response has a secret."),
        (name = "workspaces", description = "Workspaces, which separate the keys of teams and tenants."),
        (name = "installation", description = "Operations on the whole installation: master key and backup."),
        (name = "previews", description = "Prompts that people send through the proxy."),
        (name = "runs", description = "Requests that the proxy handled."),
        (name = "smoke", description = "Live checks of tagged keys, by Keyside or posted by others."),
        (name = "audit", description = "The audit log."),
        (name = "access", description = "Tokens for this API."),
        (name = "catalogue", description = "The provider catalogue and this description."),
    )
)]
struct Frame;

fn describe() -> utoipa::openapi::OpenApi {
    let mut document = Frame::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.security_schemes = [(BEARER.to_owned(), SecurityScheme::Http(bearer).into())].into();
    components.responses = [("Problem".to_owned(), problem().into())].into();
    for mut route in routes::table() {
        complete(&mut route);
        components.schemas.extend(route.schemas);
        let methods = vec![method(&route.method)];
        document
            .paths
            .add_path_operation(route.path, methods, route.operation);
    }
    document
}

/// Adds the security requirement and the error responses that follow from an operation's parameters
/// and body.
fn complete(route: &mut Route) {
    let operation = &mut route.operation;
    let bearer = SecurityRequirement::new(BEARER, Vec::<String>::new());
    operation.security = Some(vec![bearer]);
    let said = operation.responses.responses.keys();
    let problems: Vec<_> = said
        .filter(|status| status.as_str() >= "400")
        .cloned()
        .collect();
    let by_parts = statuses(operation, &route.path);
    for status in problems.into_iter().chain(by_parts) {
        let reference = RefOr::Ref(Ref::from_response_name("Problem"));
        operation.responses.responses.insert(status, reference);
    }
}

/// The error statuses of any operation with such parameters and body.
fn statuses(operation: &Operation, path: &str) -> Vec<String> {
    let parameters = operation.parameters.iter().flatten();
    let mut parameters = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    });
    let seen = parameters.find(|parameter| parameter.name == "If-Match");
    let body = operation.request_body.is_some();
    let rules = [
        (true, &["400", "401", "403", "429", "500", "503"][..]),
        (path.contains('{'), &["404"]),
        (routes::has_query(operation) || body, &["422"]),
        (body, &["408", "413", "415"]),
        (seen.is_some(), &["412"]),
        (
            seen.is_some_and(|seen| seen.required == Required::True),
            &["428"],
        ),
    ];
    let applying = rules.into_iter().filter(|(applies, _)| *applies);
    applying
        .flat_map(|(_, statuses)| statuses.iter().map(|status| (*status).to_owned()))
        .collect()
}

fn problem() -> Response {
    let schema = Ref::from_schema_name("Problem");
    let content = Content::new(Some(schema));
    ResponseBuilder::new()
        .description("The problem, and what to do next")
        .content("application/problem+json", content)
        .build()
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

const BEARER: &str = "token";
