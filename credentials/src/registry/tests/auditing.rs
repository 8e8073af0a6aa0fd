//! Searching the audit log across chains, and exporting it.

use base64::{Engine, prelude::BASE64_STANDARD};
use keyside_store::PublicKey;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use super::*;
use crate::audit::{Checked, Cursor, ExportError, ExportLineError, verify_export};

/// An event that is audited in some chain.
#[derive(Clone, Debug)]
enum Action {
    /// In the chain of one of the workspaces.
    Add(usize),
    /// In the installation's chain.
    Refuse,
    /// In both chains.
    Link,
    Later(i64),
}

const WORKSPACES: [&str; 3] = ["acme", "beta", "gamma"];

fn history() -> impl Strategy<Value = Vec<Action>> {
    let happens = prop_oneof![
        4 => (0..WORKSPACES.len()).prop_map(Action::Add),
        2 => Just(Action::Refuse),
        1 => Just(Action::Link),
        2 => (1..3i64).prop_map(Action::Later),
    ];
    proptest::collection::vec(happens, 1..60)
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap()
}

fn cases(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    })
}

/// An installation with three workspaces and this history.
async fn installation_after(history: &[Action]) -> (Installation, Arc<Registry>) {
    let installation = Installation::new();
    let registry = installation.open().await;
    for id in WORKSPACES {
        let made = registry.create_workspace(&act(), workspace(id)).await;
        made.unwrap();
    }
    for (n, happens) in history.iter().enumerate() {
        match happens {
            Action::Add(at) => {
                let new = NewCredential {
                    workspace: WORKSPACES[*at].parse().unwrap(),
                    ..key(&format!("k{n}"), "sk-1")
                };
                registry.add(&act(), new).await.unwrap();
            }
            Action::Refuse => {
                let refused = registry.audit().refused(&act(), "wrong-token").await;
                refused.unwrap();
            }
            Action::Link => registry.link(true).await,
            Action::Later(seconds) => {
                let clock = &installation.clock;
                clock.set(clock.now().as_second() + seconds);
            }
        }
    }
    (installation, registry)
}

/// All records that a search finds, page by page.
async fn paged(registry: &Registry, filter: &AuditFilter, page: usize) -> Vec<AuditRecord> {
    let (mut all, mut before) = (Vec::new(), None::<Cursor>);
    loop {
        let found = registry.audit().search(filter, before, page).await.unwrap();
        assert!(found.records.len() <= page);
        all.extend(found.records);
        let Some(next) = found.before else {
            return all;
        };
        // Through the text form, as in a URL.
        assert_eq!(next.to_string().parse::<Cursor>().as_ref(), Ok(&next));
        before = Some(next);
    }
}

#[tokio::test]
async fn a_cursor_of_the_last_possible_time_is_after_all_records() {
    let (_installation, registry, _) = one_key().await;
    let (audit, filter) = (registry.audit(), AuditFilter::default());
    let all = audit.search(&filter, None, 100).await.unwrap();
    let last = format!("{}.{}.z", i64::MAX, u64::MAX);
    let found = audit.search(&filter, last.parse().ok(), 100).await;
    assert_eq!(found.unwrap(), all);
}

fn limited_to(workspace: &str) -> Scope {
    Scope::Only(Arc::new([workspace.parse().unwrap()].into()))
}

#[test]
fn audit_pages_of_any_size_add_up_to_the_whole_log_newest_first() {
    let filters = [
        AuditFilter::default(),
        AuditFilter {
            within: limited_to("beta"),
            ..AuditFilter::default()
        },
        AuditFilter {
            workspace: Some("acme".parse().unwrap()),
            ..AuditFilter::default()
        },
        AuditFilter {
            event: Some(Event::CredentialCreated),
            ..AuditFilter::default()
        },
    ];
    let inputs = (history(), 1..70usize);
    let outcome = cases(60).run(&inputs, |(history, page)| {
        runtime().block_on(async {
            let (installation, registry) = installation_after(&history).await;
            let now = installation.clock.now();
            let of_some_seconds = AuditFilter {
                since: jiff::Timestamp::from_second(now.as_second() - 4).ok(),
                until: jiff::Timestamp::from_second(now.as_second() - 1).ok(),
                ..AuditFilter::default()
            };
            for filter in filters.iter().chain([&of_some_seconds]) {
                let mut expected = exported(&registry, filter.clone()).await;
                expected.reverse();
                let found = paged(&registry, filter, page).await;
                prop_assert_eq!(places(&found), places(&expected));
                prop_assert_eq!(found, expected);
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

/// A short form, readable when a test fails.
fn places(records: &[AuditRecord]) -> Vec<String> {
    let place = |it: &AuditRecord| format!("{} {} {}", it.at, it.chain, it.position);
    records.iter().map(place).collect()
}

#[tokio::test(start_paused = true)]
async fn an_export_with_a_limited_scope_hides_other_workspaces_and_records_about_none() {
    let all = [Action::Add(0), Action::Add(1), Action::Refuse, Action::Link];
    let (_installation, registry) = installation_after(&all).await;
    let filter = AuditFilter {
        within: limited_to("beta"),
        ..AuditFilter::default()
    };
    let recorded = exported(&registry, filter.clone()).await;
    let beta = Some("beta".parse().unwrap());
    assert!(recorded.iter().all(|record| record.workspace == beta));
    let recorded: Vec<_> = recorded.iter().map(|record| record.event).collect();
    assert_eq!(
        recorded,
        [
            Event::WorkspaceCreated,
            Event::ChainBegun,
            Event::CredentialCreated
        ]
    );
    let file = written(&registry, filter).await;
    for hidden in [
        "workspace/acme",
        "workspace/gamma",
        "wrong-token",
        "chains_linked",
    ] {
        assert!(!file.contains(hidden), "{hidden}");
    }
    // Hidden records are included as hashes, so the whole export can be verified.
    let checked = checked(&file, &registry.audit().public_key()).unwrap();
    assert_eq!(checked.chains, 2);
    let (hidden, all) = (checked.hidden, checked.records);
    assert!(hidden > 0 && all == hidden + 3, "{checked:?}");
}

/// An export as it is written to a file: one JSON object per line.
pub(super) async fn written(registry: &Registry, filter: AuditFilter) -> String {
    let mut export = registry.audit().export(filter, None);
    let mut file = String::new();
    while let Some(lines) = export.next().await.unwrap() {
        for line in lines {
            let json = match line {
                Line::Record(it) => json!({
                    "chain": it.chain.as_str(),
                    "position": it.position,
                    "at": it.at,
                    "event": it.event,
                    "actor": it.actor,
                    "requestId": it.request_id,
                    "workspaceId": it.workspace,
                    "credentialId": it.credential,
                    "provider": it.provider,
                    "fingerprint": it.fingerprint,
                    "note": it.note,
                    "hash": it.hash,
                    "previous": it.previous,
                    "stored": it.stored,
                }),
                Line::Hidden {
                    chain,
                    position,
                    record,
                } => json!({
                    "chain": chain.as_str(),
                    "position": position,
                    "recordHash": record,
                }),
                Line::End {
                    chain,
                    installation,
                    records,
                    hash,
                    head,
                    public_key,
                } => json!({
                    "chain": chain.as_str(),
                    "end": {
                        "installation": installation,
                        "records": records,
                        "hash": hash,
                        "head": head,
                        "publicKey": public_key,
                    },
                }),
            };
            file.push_str(&format!("{json}\n"));
        }
    }
    file
}

pub(super) fn checked(file: &str, key: &PublicKey) -> Result<Checked, ExportError> {
    verify_export(file.as_bytes(), key)
}

pub(super) fn is_unsigned(error: &ExportError) -> bool {
    matches!(
        error,
        ExportError::NotVerified(_, ExportLineError::Unsigned(_))
    )
}

#[test]
fn any_export_verifies_with_the_public_key_alone_and_with_no_other_key() {
    let outcome = cases(30).run(&history(), |history| {
        runtime().block_on(async {
            let (_installation, registry) = installation_after(&history).await;
            let (_other, elsewhere) = installation_after(&[]).await;
            let file = written(&registry, AuditFilter::default()).await;
            let verified = registry.audit().verify().await.unwrap();
            let found = checked(&file, &registry.audit().public_key()).unwrap();
            prop_assert_eq!(found.records, verified.records);
            prop_assert_eq!((found.hidden, found.chains), (0, 1 + WORKSPACES.len()));
            let other = checked(&file, &elsewhere.audit().public_key());
            prop_assert!(is_unsigned(&other.unwrap_err()));
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test(start_paused = true)]
async fn any_edited_missing_moved_or_duplicated_line_of_an_export_is_detected() {
    let all = [
        Action::Add(0),
        Action::Refuse,
        Action::Add(1),
        Action::Add(0),
        Action::Link,
    ];
    let (_installation, registry) = installation_after(&all).await;
    let key = registry.audit().public_key();
    for within in [Scope::All, limited_to("acme")] {
        let filter = AuditFilter {
            within,
            ..AuditFilter::default()
        };
        let file = written(&registry, filter).await;
        let lines: Vec<_> = file.lines().map(str::to_owned).collect();
        checked(&file, &key).unwrap();
        for at in 0..lines.len() {
            let edited = {
                let mut edited = lines.clone();
                edited[at] = edit_line(&lines[at]);
                edited
            };
            let (mut left_out, mut moved) = (lines.clone(), lines.clone());
            let line = left_out.remove(at);
            let to = (at + 1) % lines.len();
            moved.swap(at, to);
            let mut doubled = lines.clone();
            doubled.insert(at, line);
            let (one, next) = (chain_in(&lines[at]), chain_in(&lines[to]));
            // The lines of two workspaces may be in any order.
            let is_moved = one == next && at < to;
            for (what, lines) in [
                ("edited", Some(edited)),
                ("left out", Some(left_out)),
                ("doubled", Some(doubled)),
                ("moved", is_moved.then_some(moved)),
            ] {
                let Some(lines) = lines else {
                    continue;
                };
                let file = lines.join("\n");
                assert!(checked(&file, &key).is_err(), "line {at} {what}:\n{file}");
            }
        }
        let cut = lines[..lines.len() - 1].join("\n");
        let error = checked(&cut, &key).unwrap_err();
        assert!(matches!(error, ExportError::CutShort(_)), "{error}");
    }
    assert!(matches!(checked("", &key), Err(ExportError::Empty)));
}

fn chain_in(line: &str) -> Value {
    serde_json::from_str::<Value>(line).unwrap()["chain"].clone()
}

/// Another text, hash or head in the same format.
fn edit_line(line: &str) -> String {
    let mut json: Value = serde_json::from_str(line).unwrap();
    if let Some(stored) = json["stored"].as_str() {
        json["stored"] = stored
            .replace("tester", "nobody")
            .replace("system", "nobody")
            .into();
    } else if let Some(hash) = json["recordHash"].as_str() {
        let last = if hash.ends_with('0') { '1' } else { '0' };
        json["recordHash"] = format!("{}{last}", &hash[..hash.len() - 1]).into();
    } else {
        let head = json["end"]["head"].as_str().unwrap();
        let mut head = BASE64_STANDARD.decode(head).unwrap();
        head[9] ^= 1;
        json["end"]["head"] = BASE64_STANDARD.encode(head).into();
    }
    let edited = json.to_string();
    assert_ne!(serde_json::from_str::<Value>(line).unwrap(), json, "{line}");
    edited
}

/// An auditor reads the fields, not the record as it is stored.
#[tokio::test(start_paused = true)]
async fn any_edited_added_missing_or_doubled_field_of_an_export_is_detected() {
    let all = [Action::Add(0), Action::Refuse, Action::Link];
    let (_installation, registry) = installation_after(&all).await;
    let key = registry.audit().public_key();
    for within in [Scope::All, limited_to("acme")] {
        let filter = AuditFilter {
            within,
            ..AuditFilter::default()
        };
        let file = written(&registry, filter).await;
        let lines: Vec<_> = file.lines().collect();
        for at in 0..lines.len() {
            for (what, forged) in forgeries(lines[at]) {
                let mut lines = lines.clone();
                lines[at] = &forged;
                let found = checked(&lines.join("\n"), &key);
                assert!(found.is_err(), "line {at}, {what}: {forged}");
            }
        }
    }
}

/// The line with each field edited, left out or doubled, and with one more. Only the fingerprint,
/// which is sealed in the record, may be another one.
fn forgeries(line: &str) -> Vec<(String, String)> {
    let json: Value = serde_json::from_str(line).unwrap();
    let mut forged = Vec::new();
    for object in ["", "/end"] {
        let Some(fields) = json.pointer(object).and_then(Value::as_object) else {
            continue;
        };
        let with = |name: &str, value: Option<Value>| {
            let mut json = json.clone();
            let fields = json.pointer_mut(object).and_then(Value::as_object_mut);
            let fields = fields.unwrap();
            match value {
                Some(value) => fields.insert(name.to_owned(), value),
                None => fields.remove(name),
            };
            json.to_string()
        };
        for (name, value) in fields {
            if name != "fingerprint" {
                let edited = with(name, Some(another(value)));
                forged.push((format!("{name} edited"), edited));
            }
            forged.push((format!("{name} left out"), with(name, None)));
            if object.is_empty() {
                let doubled = format!("{{\"{name}\":{},{}", another(value), &line[1..]);
                forged.push((format!("{name} doubled"), doubled));
            }
        }
        forged.push(("one more".to_owned(), with("more", Some("x".into()))));
    }
    forged
}

/// Another value of the same type, if the type has one.
fn another(value: &Value) -> Value {
    match value {
        Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
        Value::String(text) => match text.strip_suffix('0') {
            Some(rest) => format!("{rest}1").into(),
            None => format!("{}0", &text[..text.len() - 1]).into(),
        },
        Value::Null => "x".into(),
        _ => Value::Null,
    }
}

#[tokio::test(start_paused = true)]
async fn lines_of_two_exports_in_one_file_are_detected() {
    let all = [Action::Add(0), Action::Link];
    let (_installation, registry) = installation_after(&all).await;
    let key = registry.audit().public_key();
    let older = written(&registry, AuditFilter::default()).await;
    // `acme` is changed on a newer state of the installation's chain, which then links that.
    registry
        .audit()
        .refused(&act(), "wrong-token")
        .await
        .unwrap();
    registry
        .add(&act(), self::key("later", "sk-2"))
        .await
        .unwrap();
    registry.link(true).await;
    let newer = written(&registry, AuditFilter::default()).await;
    let spliced = |own: &str, others: &str| {
        let is_own = |line: &&str| chain_in(line) == "installation";
        let own = own.lines().filter(is_own);
        let others = others.lines().filter(|line| !is_own(line));
        own.chain(others).collect::<Vec<_>>().join("\n")
    };
    for (whole, other) in [(&older, &newer), (&newer, &older)] {
        checked(&spliced(whole, whole), &key).unwrap();
        let error = checked(&spliced(whole, other), &key).unwrap_err();
        let is_other = matches!(
            error,
            ExportError::NotVerified(_, ExportLineError::OtherExport(_))
        );
        assert!(is_other, "{error}");
    }
    let error = checked(&spliced("", &newer), &key).unwrap_err();
    let is_out_of_place = matches!(
        error,
        ExportError::NotVerified(1, ExportLineError::OutOfPlace(_))
    );
    assert!(is_out_of_place, "without the installation's chain: {error}");
}

#[tokio::test]
async fn an_export_of_several_workspaces_is_recorded_in_one_commit() {
    let (_installation, registry) = installation_after(&[]).await;
    let head = || {
        let state = registry.chains.installation().state().unwrap();
        (state.head.seq, state.head.records)
    };
    let (seq, records) = head();
    let ids = WORKSPACES.map(|id| id.parse::<crate::model::WorkspaceId>().unwrap());
    let named: Vec<_> = ids.iter().map(Some).collect();
    let by = act();
    let recorded = registry.audit().exported(&by, &named, "ndjson");
    recorded.await.unwrap();
    assert_eq!(head(), (seq + 1, records + 3));
}
