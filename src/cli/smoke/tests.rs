//! Each form of the results, with labels that have a meaning in it.

use serde_json::{Value, json};

use super::*;

fn item(fields: Value) -> Value {
    let mut item = json!({
        "workspaceId": "acme", "provider": "openai", "credentialId": null, "label": "ci",
        "environment": "sandbox", "outcome": "passed", "verdict": "accepted", "status": 200,
        "latencyMs": 1234, "tokens": null, "remediation": null, "detail": "accepted, the provider responded with 200",
        "checkedAt": "2026-11-29T12:00:00Z", "consecutiveFailures": 0, "lastSuccessAt": null,
        "history": [],
    });
    for (name, value) in fields.as_object().unwrap() {
        item[name] = value.clone();
    }
    item
}

fn report(items: &[Value]) -> SmokeReportView {
    let report = json!({
        "run": {
            "id": "smoke_a", "trigger": "request", "state": "finished",
            "startedAt": "2026-11-29T12:00:00Z", "finishedAt": "2026-11-29T12:00:05Z",
        },
        "items": items,
    });
    serde_json::from_value(report).unwrap()
}

fn failed() -> Value {
    item(json!({
        "provider": "groq", "label": "a|b <c> %, \"d\": e", "outcome": "failed",
        "verdict": "rejected", "status": 401, "detail": "rejected, the provider responded with 401",
        "remediation": "Rotate.",
    }))
}

fn capped() -> Value {
    item(json!({
        "provider": "mistral", "label": null, "environment": null, "outcome": "skipped",
        "verdict": "capped", "status": null, "latencyMs": null,
        "detail": "not sent, today's requests are used up",
    }))
}

#[test]
fn the_table_names_each_key_and_explains_each_that_did_not_pass() {
    let text = text::render(
        &report(&[item(json!({})), failed(), capped()]),
        &Console::new(keyside_config::Sources::default(), false),
    );
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("WORKSPACE  PROVIDER"), "{text}");
    assert!(lines[1].contains("accepted  200     1234 ms  -"), "{text}");
    let said = "groq key \"a|b <c> %, \"d\": e\" of workspace acme: rejected, the provider responded with 401";
    assert_eq!(lines[4], said);
    assert_eq!(lines[5], "  next: Rotate.");
    assert_eq!(
        lines[6],
        "mistral in workspace acme: not sent, today's requests are used up"
    );
    assert_eq!(lines[7], "3 checks: 1 passed, 1 failed, 1 without a result");
}

#[test]
fn a_junit_report_is_escaped_and_counts_failures_and_errors() {
    let xml = junit::render(&report(&[item(json!({})), failed(), capped()]));
    for part in [
        "<testsuite name=\"keyside-smoke\" tests=\"3\" failures=\"1\" errors=\"1\" skipped=\"0\" time=\"2.468\" timestamp=\"2026-11-29T12:00:00Z\">",
        "<testcase classname=\"acme.openai\" name=\"ci (sandbox)\" time=\"1.234\"/>",
        "name=\"a|b &lt;c&gt; %, &quot;d&quot;: e (sandbox)\"",
        "<failure type=\"rejected\" message=\"rejected, the provider responded with 401\">Rotate.</failure>",
        "<error type=\"capped\" message=\"not sent, today&apos;s requests are used up\"></error>",
    ] {
        assert!(xml.contains(part), "no {part} in {xml}");
    }
}

#[test]
fn annotations_are_escaped_and_name_failures_and_restrictions() {
    let limited = item(json!({ "verdict": "limited", "detail": "limited\n::error::forged" }));
    let items = report(&[item(json!({})), failed(), capped(), limited]).items;
    let said = github::annotations(&items);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[0],
        "::error title=Smoke check%3A groq key \"a|b <c> %25%2C \"d\"%3A e\" of workspace acme\
         ::rejected, the provider responded with 401. Rotate."
    );
    assert!(
        lines[1].starts_with("::warning title=Smoke check%3A mistral"),
        "{said}"
    );
    assert!(lines[2].ends_with("::limited%0A::error::forged"), "{said}");
    assert_eq!(lines.len(), 3, "{said}");
}

#[test]
fn the_summary_has_a_row_for_each_key_whose_label_cannot_break_it() {
    let summary = github::summary(&report(&[item(json!({ "tokens": 7 })), failed()]));
    let row = |provider: &str| {
        let mut rows = summary.lines();
        rows.find(|row| row.starts_with(&format!("| {provider} |")))
            .unwrap()
    };
    let passed = "| openai | ci | sandbox | acme | 200 | 1234 ms | 7 | \u{2705} accepted, the provider responded with 200 |";
    assert_eq!(row("openai"), passed);
    assert!(
        row("groq").contains("| a\\|b &lt;c&gt; %, \"d\": e |"),
        "{summary}"
    );
}

#[test]
fn the_progress_line_counts_and_names_a_few_that_are_missing() {
    let waiting = |provider: &str| {
        let none = json!({ "provider": provider, "outcome": null, "verdict": null });
        item(none)
    };
    let items = ["groq", "mistral", "xai", "cohere"].map(waiting);
    let checked = [item(json!({})), failed(), capped()];
    for (checked, expected) in [
        (
            &checked[..1],
            "1 of 5 checked, waiting for groq, mistral, xai and 1 more",
        ),
        (
            &checked[..],
            "3 of 7 checked, 1 failed, waiting for groq, mistral, xai and 1 more",
        ),
    ] {
        let some = report(&[checked, &items].concat()).items;
        assert_eq!(progress::line(&some), expected);
    }
    let done = report(&[item(json!({}))]).items;
    assert_eq!(progress::line(&done), "1 of 1 checked");
}
