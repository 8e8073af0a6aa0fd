//! The admin page: server-rendered HTML over the same functions as the API.
//!
//! A page has two addresses. Its stable link (`/keys`) is in refusals and bookmarks; it serves one
//! static page, which leads to the session that the browser has, or to sign-in and then there. In a
//! session the page itself is at `/s/<id>/keys`. Each line of [`table`] makes both.
//!
//! A handler asks the registry through the [`Caller`](crate::access::Caller), as the API's routes
//! do, makes a view of the result, and renders a template of `admin/templates`. A form is sent to
//! the address of the page that shows it, so a session that has ended leads back to that page.

mod audit;
mod chart;
mod checks;
mod clients;
mod confirm;
mod cookies;
mod errors;
mod form;
mod front;
mod gate;
mod html;
mod key;
mod key_new;
mod keys;
mod lines;
mod link;
mod marked;
mod meter;
mod number;
mod pager;
mod preview;
mod provider_guide;
mod reauthentication;
mod record_rows;
mod remedy;
mod run_rows;
mod runs;
mod saved;
mod shell;
mod sign_in;
mod static_files;
mod time;
mod verdict;
mod view;
mod workspace;
mod workspaces;

use axum::{
    Router, middleware,
    routing::{MethodRouter, any, get},
};
use keyside_credentials::Permission;

pub(crate) use self::{
    errors::for_browsers,
    gate::{is_in_session, to_stable_link},
};
use crate::{
    access,
    problem::{Kind, Problem},
    rate_limits,
    state::AdminState,
};

/// A page with the permission that opening it needs. What its form does may need more, and the
/// handler asks for that.
struct Page {
    path: &'static str,
    needs: Permission,
    answer: MethodRouter<AdminState>,
}

/// All pages, by stable link.
#[rustfmt::skip]
fn table() -> Vec<Page> {
    use Permission::*;
    let page = |path, needs, answer| Page { path, needs, answer };
    vec![
        page("/", SignIn, get(front::show)),
        page("/keys", ReadCredentials, get(keys::show)),
        page("/keys/new", ChangeCredentials, get(key_new::choose)),
        page("/keys/new/{provider}", ChangeCredentials, get(key_new::paste).post(key_new::save)),
        page("/keys/{id}", ReadCredentials, get(key::show).post(key::act)),
        page("/keys/{id}/added", ReadCredentials, get(key_new::done)),
        page("/keys/{id}/edit", ChangeCredentials, get(key::edit::show).post(key::edit::save)),
        page("/keys/{id}/revoke", ChangeCredentials, get(key::revoke::show).post(key::revoke::revoke)),
        page("/keys/{id}/rotate", ChangeCredentials, get(key::rotate::show).post(key::rotate::save)),
        page("/preview", ReadCredentials, get(preview::show).post(preview::send)),
        page("/runs", ReadRuns, get(runs::show)),
        page("/checks", ReadRuns, get(checks::show).post(checks::start)),
        page("/checks/progress", ReadRuns, get(checks::progress)),
        page("/audit", ReadAudit, get(audit::show).post(audit::verify)),
        page("/audit/export", ExportAudit, get(audit::export)),
        page("/clients", ReadWorkspaces, get(clients::show)),
        page("/workspace", ReadWorkspaces, get(workspace::show).post(workspace::change)),
        page("/workspace/erase", EraseWorkspace, get(workspace::erase::show).post(workspace::erase::erase)),
        page("/tokens/{id}/revoke", RevokeTokens, get(workspace::revoke_token::show).post(workspace::revoke_token::revoke)),
        page("/workspaces", ReadWorkspaces, get(workspaces::show).post(workspaces::create)),
        page("/sign-out", SignIn, get(front::show).post(sign_in::sign_out)),
    ]
}

/// The patterns of the addresses outside of a session: they serve static pages, which links on
/// other sites may lead to.
pub(crate) fn stable_paths() -> impl Iterator<Item = String> {
    let pages = table().into_iter().map(|page| page.path.to_owned());
    pages.chain([sign_in::PATH, sign_in::SIGNED_OUT, link::PATH].map(str::to_owned))
}

/// The router of all pages and their files.
pub(crate) fn router(state: &AdminState) -> Router<AdminState> {
    let limit = middleware::from_fn_with_state(state.limits.clone(), rate_limits::check);
    let session = middleware::from_fn_with_state(state.clone(), gate::authenticate);
    let errors = middleware::from_fn_with_state(state.clone(), errors::as_pages);
    let files = Router::new().route("/assets/{version}/{name}", get(static_files::show));
    in_session()
        .layer(limit.clone())
        .layer(session)
        .merge(without_session().merge(files).layer(limit))
        .layer(errors)
}

/// The pages of a session, behind the check of their permission.
fn in_session() -> Router<AdminState> {
    let pages = table().into_iter().fold(Router::new(), |router, page| {
        let permit = middleware::from_fn_with_state(page.needs, access::authorize);
        let path = format!("/s/{{session}}{}", page.path);
        router.route(&path, page.answer.route_layer(permit))
    });
    pages
        .route("/s/{session}", any(front::lead_in))
        .route("/s/{session}/session", get(gate::is_alive))
        .route("/s/{session}/{*rest}", any(no_such_page))
        .method_not_allowed_fallback(wrong_method)
}

fn without_session() -> Router<AdminState> {
    let stable = table()
        .into_iter()
        .map(|page| page.path)
        .chain([sign_in::PATH]);
    stable
        .fold(Router::new(), |router, path| {
            router.route(path, get(sign_in::show).post(sign_in::sign_in))
        })
        .route(
            sign_in::SIGNED_OUT,
            get(sign_in::show_signed_out).post(sign_in::sign_in),
        )
        .route(link::PATH, get(link::show).post(link::open))
        .method_not_allowed_fallback(wrong_method)
}

async fn no_such_page() -> Problem {
    let detail = "There is no such page.";
    let remedy = "Go on from the keys of your workspace.";
    Problem::new(Kind::RouteUnknown, detail, remedy)
}

async fn wrong_method() -> Problem {
    let detail = "This page does not support the method of the request.";
    let remedy =
        "Use one of the methods in the Allow header, or go on from the keys of your workspace.";
    Problem::new(Kind::MethodNotAllowed, detail, remedy)
}
