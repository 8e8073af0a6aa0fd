//! An answer, and which key gave it. `admin/assets/preview.js` shows that of a stream in the same
//! way.

use keyside_credentials::{Environment, Workspace};

use crate::{
    pages::{
        number::{count, known, milliseconds},
        shell::{Visit, query},
    },
    wire::PreviewView,
};

pub(super) struct AnswerView {
    pub(super) text: String,
    pub(super) label: String,
    pub(super) environment: &'static str,
    pub(super) sandbox: bool,
    pub(super) key_href: String,
    pub(super) latency: String,
    pub(super) first_byte: String,
    pub(super) tokens_in: String,
    pub(super) tokens_out: String,
    pub(super) request_id: String,
    /// The run of the request.
    pub(super) run_href: String,
}

impl AnswerView {
    pub(super) fn of(visit: &Visit, workspace: &Workspace, view: PreviewView) -> Self {
        let query = query(&[
            ("workspace", workspace.id.as_ref()),
            ("request", &view.request_id),
        ]);
        let rounded = |number: f64| milliseconds(number.round() as u64);
        let key = view.credential;
        Self {
            text: view.text.unwrap_or_default(),
            label: key.label.to_string(),
            environment: key.environment.as_str(),
            sandbox: key.environment == Environment::Sandbox,
            key_href: visit.key_href(&key.id),
            latency: rounded(view.latency_ms),
            first_byte: known(view.time_to_first_byte_ms.map(rounded)),
            tokens_in: known(view.tokens.input.map(count)),
            tokens_out: known(view.tokens.output.map(count)),
            run_href: format!("{}/runs{query}", visit.base()),
            request_id: view.request_id,
        }
    }
}
