//! A secret in the wrong place is repeated nowhere: not in an answer, which every test looks at,
//! and not in a log line at any level.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[tokio::test]
async fn no_answer_and_no_log_line_repeats_what_was_pasted_in_the_wrong_place() {
    let log = Lines::default();
    let _guard = log.collect();
    let api = Api::with_workspace().await;
    let first = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    assert_eq!(first.status, StatusCode::CREATED);

    for field in [
        "workspaceId",
        "provider",
        "environment",
        "expiresAt",
        "endpoint",
        "default",
    ] {
        let mut body = new_credential(json!({}));
        body[field] = json!(SECRET);
        assert!(
            api.post(CREDENTIALS, &body).await.status.is_client_error(),
            "{field}"
        );
    }
    for body in [
        format!("{{\"{SECRET}\": 1}}"),
        format!("{{\"secret\": \"{SECRET}"),
        format!("{{\"secret\": {SECRET}}}"),
        format!("\"{SECRET}\""),
        SECRET.to_owned(),
        format!("{{\"secret\": \"{SECRET}\", \"secret\": \"{SECRET}\"}}"),
        format!("{{\"secret\": [\"{SECRET}\"]}}"),
    ] {
        assert!(
            api.post_text(CREDENTIALS, body)
                .await
                .status
                .is_client_error()
        );
    }
    let path = first.header("location");
    for field in [
        "label2",
        "usageTag",
        "graceSeconds",
        "expiresAt",
        "default",
        "provider",
    ] {
        let mut body = json!({ "secret": SECRET });
        body[field] = json!(SECRET);
        let request = api
            .request("PATCH", path)
            .header("if-match", SECRET)
            .header("content-type", "application/json");
        let answer = api.send_body(request, body.to_string().into()).await;
        assert!(answer.status.is_client_error(), "{field}");
    }
    for path in [
        format!("/{SECRET}"),
        format!("{CREDENTIALS}/{SECRET}"),
        format!("/api/runs?{SECRET}"),
    ] {
        assert!(api.get(&path).await.status.is_client_error());
    }
    let pasted = anonymous("GET", "/api/runs").header("authorization", format!("Bearer {SECRET}"));
    assert_eq!(api.send(pasted).await.status, StatusCode::UNAUTHORIZED);
    let method = api.request("SKPROJCanaryOf", "/api/runs");
    assert!(api.send(method).await.status.is_client_error());

    let new = json!({ "name": "CI", "role": "viewer" });
    let made = api.post("/api/tokens", &new).await.json();
    let made = made["token"].as_str().unwrap();
    let used = anonymous("GET", "/api/runs").header("authorization", format!("Bearer {made}"));
    assert_eq!(api.send(used).await.status, StatusCode::OK);

    let log = log.text();
    assert!(!log.contains(made), "{log}");
    assert!(
        log.contains("admin request"),
        "the log was looked at: {log}"
    );
    assert!(!log.contains("CanaryOf"), "{log}");
    assert!(!log.contains(&api.token), "{log}");
    let audit = format!("{:?}", api.audit().await);
    assert!(!audit.contains("CanaryOf"), "{audit}");
}

/// Log lines, kept.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Takes what is logged at any level until the guard is dropped. A test has one thread, and the
    /// tasks that it starts run on it too.
    pub(super) fn collect(&self) -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
