//! `/api/sign-in-links`: from a token to a session of the admin page.

use axum::{Json, extract::State};
use http::StatusCode;

use crate::{
    access::Caller, problem::Problem, sign_in_links::SignInLinks, state::AdminState,
    wire::SignInLink,
};

/// Creates a link that opens one session of the caller's token in a browser, within five minutes.
#[utoipa::path(
    post, path = "/api/sign-in-links", tag = "access", operation_id = "createSignInLink",
    responses((status = 201, body = SignInLink, description = "Created"))
)]
pub(super) async fn create(
    State(state): State<AdminState>,
    caller: Caller,
) -> Result<(StatusCode, Json<SignInLink>), Problem> {
    caller.still_has_access(&state.registry)?;
    let expires_at = state.registry.now() + SignInLinks::LIFETIME;
    let url = state
        .sign_in_links
        .create(&state.site.url(""), &caller.principal().actor);
    let link = SignInLink {
        url: url.to_string(),
        expires_at,
    };
    Ok((StatusCode::CREATED, Json(link)))
}
