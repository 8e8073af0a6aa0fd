//! `/api/audit`: who did what, to read, to take away, to check.

mod csv;
mod export;

use axum::{Json, extract::State, response::Response};

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_credentials::{
    ActorId, AuditRecord, ChainName, CredentialId, Fingerprint, Hash, PublicKey, Receipt, Scope,
    WorkspaceId,
    audit::{AuditFilter, Break, Event, ReceiptError, VerifyError},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    body::JsonBody,
    form,
    page::Page,
    problem::Problem,
    query::Parameters,
    schemas::{bodies, queries},
    state::AdminState,
    turns::Work,
};

/// Records, newest first. A page may be short, or empty, and lead on: how far back one looks at once is limited.
#[utoipa::path(
    get, path = "/api/audit", tag = "audit", operation_id = "listAuditRecords",
    params(queries::RecordFilter, queries::Limit, queries::RecordCursor),
    responses((status = 200, body = Page<RecordView>, description = "A page"), (status = 404))
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<RecordView>>, Problem> {
    let filter = filter(&caller, &mut query);
    let limit = query.limit();
    let before = query.cursor(|text| text.parse().ok());
    query.finish()?;
    look_into(&state, &caller, filter.workspace.as_ref())?;
    let _turn = state.turn(Work::List, &caller).await?;
    let found = state.registry.audit().search(&filter, before, limit).await;
    let found = found.map_err(Problem::unreadable)?;
    let records = found.records.into_iter().map(RecordView::of).collect();
    let cursor = found.before.map(|cursor| cursor.to_string());
    Ok(Json(Page::leading_on(records, cursor)))
}

/// All records that pass, chain by chain, oldest first. That they leave is on record before the first one does. In NDJSON, what is
/// left out of a chain is there as its hash, and each chain ends with its signed head, so that whoever has the installation's
/// public key can check the whole (`keyside audit verify FILE --key KEY`).
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
    let format = query.optional("format", |text| form::word(&export::FORMATS, text));
    let from = query.optional("from", |text| {
        let time = text.parse::<Timestamp>();
        time.map_err(|_| "expected a time, such as 2026-11-29T00:00:00Z".to_owned())
    });
    query.finish()?;
    look_into(&state, &caller, filter.workspace.as_ref())?;
    let format = format.unwrap_or(export::Format::Ndjson);
    let turn = state.turns.take(Work::Export, &caller)?;
    state.limits.recorded_read(&caller)?;
    let note = match from {
        Some(from) => format!("{}, from {from}", format.name()),
        None => format.name().to_owned(),
    };
    let act = caller.act();
    for workspace in taken(&filter) {
        let audit = state.registry.audit();
        audit.exported(&act, workspace, &note).await?;
    }
    let response = export::stream(state.registry.clone(), filter, from, format);
    Ok(turn.until_sent(response))
}

/// Reads the whole log, and says which record is the first that is not what was written. One check runs at a time.
#[utoipa::path(
    get, path = "/api/audit/verify", tag = "audit", operation_id = "verifyAuditLog",
    responses((status = 200, body = VerifyView, description = "Whether it is what was written"))
)]
pub(super) async fn verify(
    State(state): State<AdminState>,
    caller: Caller,
    query: Parameters,
) -> Result<Json<VerifyView>, Problem> {
    query.finish()?;
    let turn = state.turn(Work::AuditCheck, &caller).await?;
    let registry = state.registry;
    let checked = turn.aside(async move { registry.audit().verify().await });
    let (verified, _turn) = checked.await?;
    match verified {
        Ok(verified) => Ok(Json(VerifyView {
            intact: true,
            records: Some(verified.records),
            chains: Some(verified.heads.len()),
            chain: None,
            position: None,
            finding: None,
        })),
        Err(VerifyError::Broken(found)) => Ok(Json(VerifyView::broken(&found))),
        Err(error) => Err(unverified(error)),
    }
}

/// The Ed25519 key that checks every head and receipt of this installation. It is no secret: with it, an export is checked on
/// another machine.
#[utoipa::path(
    get, path = "/api/audit/key", tag = "audit", operation_id = "getAuditKey",
    responses((status = 200, body = PublicKeyView, description = "The public key"))
)]
pub(super) async fn key(
    State(state): State<AdminState>,
    query: Parameters,
) -> Result<Json<PublicKeyView>, Problem> {
    query.finish()?;
    Ok(Json(PublicKeyView {
        public_key: state.registry.audit().public_key(),
    }))
}

/// Checks the receipt of an erased workspace: whether this installation gave it out, and whether the log is what was written
/// and tells of it. Anything else is no receipt of ours. It is a check of the log too, and one runs at a time.
#[utoipa::path(
    post, path = "/api/audit/verify", tag = "audit", operation_id = "verifyReceipt",
    request_body(content = bodies::ShownReceipt, description = "A receipt, as it was given out"),
    responses((status = 200, body = ConfirmView, description = "Whether it is confirmed"))
)]
pub(super) async fn confirm(
    State(state): State<AdminState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<ConfirmView>, Problem> {
    let receipt: Option<Receipt> = form::object(body.bytes())?;
    let confirmed = match receipt {
        Some(receipt) => {
            let turn = state.turn(Work::AuditCheck, &caller).await?;
            let registry = state.registry;
            let checked = async move { registry.audit().confirm(&receipt).await };
            let (confirmed, _turn) = turn.aside(checked).await?;
            confirmed
        }
        None => Err(ReceiptError::Foreign.into()),
    };
    let finding = match confirmed {
        Ok(()) => None,
        Err(error) if error.is_finding() => Some(error.to_string()),
        Err(error) => return Err(unverified(error)),
    };
    Ok(Json(ConfirmView {
        confirmed: finding.is_none(),
        finding,
    }))
}

/// A record on the wire.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordView {
    /// `installation`, or `workspace/` and an id: the chain that the record is in.
    chain: String,
    /// Its place there, from 1.
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
    /// Null too once the workspace was erased.
    #[schema(value_type = Option<String>)]
    fingerprint: Option<Fingerprint>,
    note: Option<String>,
    /// The chain hash after it: SHA-256 of `previous` and the SHA-256 of the record as it is stored.
    #[schema(value_type = String)]
    hash: Hash,
    /// The chain hash before it.
    #[schema(value_type = String)]
    previous: Hash,
}

/// What checks the heads.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublicKeyView {
    /// 64 hex digits.
    #[schema(value_type = String)]
    public_key: PublicKey,
}

/// What checking came to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifyView {
    intact: bool,
    /// How many records there are, in all chains.
    records: Option<u64>,
    /// How many chains: the installation's, and one a workspace, erased ones included.
    chains: Option<usize>,
    /// The chain that is not what was written.
    #[schema(value_type = Option<String>)]
    chain: Option<ChainName>,
    /// The first record that is not; none where it is the chain's head.
    position: Option<u64>,
    /// What is wrong with it.
    finding: Option<String>,
}

impl VerifyView {
    fn broken(found: &Break) -> Self {
        Self {
            intact: false,
            records: None,
            chains: None,
            chain: Some(found.chain.clone()),
            position: Some(found.position).filter(|position| *position > 0),
            finding: Some(found.to_string()),
        }
    }
}

/// What checking a receipt came to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfirmView {
    confirmed: bool,
    /// Why it is not.
    finding: Option<String>,
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

/// The log could not be looked at.
fn unverified(error: VerifyError) -> Problem {
    match error {
        VerifyError::Storage(error) => Problem::unreadable(error),
        error => Problem::internal(format!("the audit log could not be checked: {error}")),
    }
}

/// Where it goes on record that records leave: with each workspace that they are of, so that those who may read only that
/// one's log see it; with none if they are of all.
fn taken(filter: &AuditFilter) -> Vec<Option<&WorkspaceId>> {
    match (&filter.workspace, &filter.within) {
        (Some(workspace), _) => vec![Some(workspace)],
        (None, Scope::Only(workspaces)) => workspaces.iter().map(Some).collect(),
        (None, Scope::All) => vec![None],
    }
}

/// Lets the caller look into the workspace that the filter names, if it names one. An erased one has records too.
fn look_into(
    state: &AdminState,
    caller: &Caller,
    workspace: Option<&WorkspaceId>,
) -> Result<(), Problem> {
    caller.look_into(workspace)?;
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
        workspace: query.optional("workspaceId", super::parsed),
        actor: query.optional("actor", super::parsed),
        event: query.optional("event", |name| {
            Event::parse(name).ok_or_else(|| "there is no such event".to_owned())
        }),
        credential: query.optional("credentialId", super::parsed),
    }
}
