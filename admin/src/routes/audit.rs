//! `/api/audit`: list, export and verify the audit log.

mod csv;
mod export;

use axum::{Json, extract::State, response::Response};
use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_credentials::{
    ActorId, AuditRecord, CredentialId, Fingerprint, Hash, PublicKey, Receipt, Scope, WorkspaceId,
    audit::{AuditFilter, Event, ReceiptError, VerifyError},
};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::export::Format;
use crate::{
    access::Caller,
    body::ReceiptBody,
    concurrency::WorkKind,
    form,
    problem::Problem,
    query::Parameters,
    rate_limits,
    schemas::{bodies, queries},
    state::AdminState,
    wire::{self, ConfirmView, VerifyView},
};

/// Audit records, newest first. A page may be short or empty and still have a `nextCursor`: each
/// request searches a limited number of records.
#[utoipa::path(
    get, path = "/api/audit", tag = "audit", operation_id = "listAuditRecords",
    params(queries::RecordFilter, queries::Limit, queries::RecordCursor),
    responses((status = 200, body = RecordPage, description = "A page"), (status = 404))
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<RecordPage>, Problem> {
    let filter = filter(&caller, &mut query);
    let limit = query.limit();
    let before = query.cursor(|text| text.parse().ok());
    query.finish()?;
    check_filter(&state, &caller, filter.workspace.as_ref())?;
    let _permit = state.acquire(WorkKind::List, &caller).await?;
    let found = state.registry.audit().search(&filter, before, limit).await;
    let found = found.map_err(Problem::unreadable)?;
    let records = found.records.into_iter().map(RecordView::of).collect();
    let warnings = found.damaged.iter();
    Ok(Json(RecordPage {
        items: records,
        next_cursor: found.before.map(|cursor| cursor.to_string()),
        warnings: warnings
            .map(|found| format!("damaged records are missing here: {found}"))
            .collect(),
    }))
}

/// Exports the matching records, chain by chain, oldest first. The export itself is audited before
/// the first record is sent. In NDJSON, records that do not match are replaced by their hash, and
/// each chain ends with its signed head, so that anyone with the installation's public key can
/// verify the file (`keyside audit verify FILE --key KEY`).
#[utoipa::path(
    get, path = "/api/audit/export", tag = "audit", operation_id = "exportAuditRecords",
    params(queries::RecordFilter, queries::ExportForm),
    responses((status = 200, description = "One record a line", content(
        (String = "application/x-ndjson"), (String = "text/csv")
    )), (status = 404))
)]
pub(super) async fn export(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Response, Problem> {
    let filter = filter(&caller, &mut query);
    let format = query.optional("format", form::choice);
    let from = query.optional("from", wire::time);
    query.finish()?;
    let format = format.unwrap_or(Format::Ndjson);
    exported(state, &caller, filter, from, format).await
}

/// The response with an export of the matching records, from a time on.
///
/// # Errors
/// 404 if the workspace of the filter never existed; 429 if too many exports are in progress or
/// were made in the last minute; 422 if a record would be written for too many workspaces.
pub(crate) async fn exported(
    state: AdminState,
    caller: &Caller,
    filter: AuditFilter,
    from: Option<Timestamp>,
    format: Format,
) -> Result<Response, Problem> {
    check_filter(&state, caller, filter.workspace.as_ref())?;
    let permit = state.concurrency.try_acquire(WorkKind::Export, caller)?;
    let recorded_for = taken(&filter);
    let records = recorded_for.len();
    rate_limits::check_audited_read(&state.access_audit, caller, records)?;
    let note = match from {
        Some(from) => format!("{}, from {from}", format.name()),
        None => format.name().to_owned(),
    };
    let act = caller.context();
    let audit = state.registry.audit();
    audit.exported(&act, &recorded_for, &note).await?;
    let response = export::stream(state.registry.clone(), filter, from, format);
    Ok(permit.hold_until_sent(response))
}

/// Verifies the whole log and reports the first record that fails. One check runs at a time.
#[utoipa::path(
    get, path = "/api/audit/verify", tag = "audit", operation_id = "verifyAuditLog",
    responses((status = 200, body = VerifyView, description = "The result"))
)]
pub(super) async fn verify(
    State(state): State<AdminState>,
    caller: Caller,
) -> Result<Json<VerifyView>, Problem> {
    verified(&state, &caller).await.map(Json)
}

/// The result of verifying the whole log. One check runs at a time.
///
/// # Errors
/// 429 if too many wait for one, 503 if the log could not be read.
pub(crate) async fn verified(state: &AdminState, caller: &Caller) -> Result<VerifyView, Problem> {
    let permit = state.acquire(WorkKind::AuditCheck, caller).await?;
    let registry = state.registry.clone();
    let checked = permit.run_blocking(async move { registry.audit().verify().await });
    let (verified, _permit) = checked.await?;
    VerifyView::of(verified).map_err(unverified)
}

/// The Ed25519 public key that verifies the heads and receipts of this installation, for example to
/// verify an export on another machine.
#[utoipa::path(
    get, path = "/api/audit/key", tag = "audit", operation_id = "getAuditKey",
    responses((status = 200, body = PublicKeyView, description = "The public key"))
)]
pub(super) async fn key(State(state): State<AdminState>) -> Json<PublicKeyView> {
    Json(PublicKeyView {
        public_key: state.registry.audit().public_key(),
    })
}

/// Verifies the receipt of an erased workspace: that this installation issued it, and that the
/// audit log is intact and has the erasure. One check of the log runs at a time.
#[utoipa::path(
    post, path = "/api/audit/verify", tag = "audit", operation_id = "verifyReceipt",
    request_body(content = bodies::ShownReceipt, description = "A receipt as it was issued"),
    responses((status = 200, body = ConfirmView, description = "The result"))
)]
pub(super) async fn confirm(
    State(state): State<AdminState>,
    caller: Caller,
    body: ReceiptBody,
) -> Result<Json<ConfirmView>, Problem> {
    let receipt: Option<Receipt> = form::object(body.bytes())?;
    let confirmed = match receipt {
        Some(receipt) => {
            let permit = state.acquire(WorkKind::AuditCheck, &caller).await?;
            let registry = state.registry;
            let checked = async move { registry.audit().confirm(&receipt).await };
            let (confirmed, _permit) = permit.run_blocking(checked).await?;
            confirmed
        }
        None => Err(ReceiptError::Foreign.into()),
    };
    ConfirmView::of(confirmed).map(Json).map_err(unverified)
}

/// A page of audit records. `nextCursor` is opaque.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordPage {
    items: Vec<RecordView>,
    next_cursor: Option<String>,
    /// Chains with damaged records that are missing on this page, each with what is wrong.
    warnings: Vec<String>,
}

/// An audit record.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordView {
    /// The chain of the record: `installation`, or `workspace/` and an id.
    chain: String,
    /// The position in the chain, from 1.
    position: u64,
    at: Timestamp,
    #[schema(value_type = String)]
    event: Event,
    #[schema(value_type = String)]
    actor: ActorId,
    request_id: String,
    #[schema(value_type = Option<String>)]
    workspace_id: Option<WorkspaceId>,
    #[schema(value_type = Option<String>)]
    credential_id: Option<CredentialId>,
    #[schema(value_type = Option<String>)]
    provider: Option<ProviderId>,
    /// Null also after the workspace is erased.
    #[schema(value_type = Option<String>)]
    fingerprint: Option<Fingerprint>,
    note: Option<String>,
    /// The chain hash after the record: SHA-256 of `previous` and the SHA-256 of the record as it
    /// is stored.
    #[schema(value_type = String)]
    hash: Hash,
    /// The chain hash before the record.
    #[schema(value_type = String)]
    previous: Hash,
}

/// The key that verifies heads and receipts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublicKeyView {
    /// 64 hex digits.
    #[schema(value_type = String)]
    public_key: PublicKey,
}

impl RecordView {
    fn of(record: AuditRecord) -> Self {
        Self {
            chain: record.chain.to_string(),
            position: record.position,
            at: record.at,
            event: record.event,
            actor: record.actor,
            request_id: record.request_id,
            workspace_id: record.workspace,
            credential_id: record.credential,
            provider: record.provider,
            fingerprint: record.fingerprint,
            note: record.note,
            hash: record.hash,
            previous: record.previous,
        }
    }
}

/// The log could not be read for verification.
fn unverified(error: VerifyError) -> Problem {
    match error {
        VerifyError::Storage(error) => Problem::unreadable(error),
        error => Problem::internal(format!("the audit log could not be checked: {error}")),
    }
}

/// The workspaces whose chains get the audit record of an export: each exported one, so that
/// readers of only that workspace's log see it; none (the installation's chain) for an export of
/// all.
fn taken(filter: &AuditFilter) -> Vec<Option<&WorkspaceId>> {
    match (&filter.workspace, &filter.within) {
        (Some(workspace), _) => vec![Some(workspace)],
        (None, Scope::Only(workspaces)) => workspaces.iter().map(Some).collect(),
        (None, Scope::All) => vec![None],
    }
}

/// Checks that the workspace in the filter, if any, exists or existed: erased workspaces have
/// records too.
fn check_filter(
    state: &AdminState,
    caller: &Caller,
    workspace: Option<&WorkspaceId>,
) -> Result<(), Problem> {
    caller.check_filter(workspace)?;
    let registry = &state.registry;
    let has_records =
        |id: &WorkspaceId| registry.workspace(id).is_some() || registry.audit().has_erased(id);
    match workspace.is_none_or(has_records) {
        true => Ok(()),
        false => Err(Problem::workspace_unknown()),
    }
}

fn filter(caller: &Caller, query: &mut Parameters) -> AuditFilter {
    AuditFilter {
        within: caller.scope().clone(),
        workspace: query.optional("workspaceId", wire::parsed),
        actor: query.optional("actor", wire::parsed),
        event: query.optional("event", event),
        credential: query.optional("credentialId", wire::parsed),
        since: query.optional("since", wire::time),
        until: query.optional("until", wire::time),
    }
}

/// Reads the name of an event.
pub(crate) fn event(name: &str) -> Result<Event, String> {
    form::choice(name).map_err(|_| "is not the name of an event".to_owned())
}
