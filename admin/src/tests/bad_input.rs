//! Bad input: each field of each body, wrong in each way by itself, is named in the response, and
//! nothing is written.

use super::*;

const OTHER: &str = "sk-proj-CanaryOfAnotherOne0123456789abcdefghijklmnopqrstuvwxyz";

/// A good body, and what it may not contain.
struct Form {
    method: &'static str,
    path: String,
    good: Value,
    wrong: Vec<(&'static str, Vec<Value>)>,
}

fn forms(credential: &str) -> Vec<Form> {
    let form = |method, path: &str, good, wrong| Form {
        method,
        path: path.to_owned(),
        good,
        wrong,
    };
    let refused = |values: &[Value]| values.to_vec();
    let unknown = || ("color", vec![json!("blue"), Value::Null]);
    vec![
        form(
            "POST",
            CREDENTIALS,
            new_credential(json!({ "label": "another" })),
            vec![
                (
                    "workspaceId",
                    [required(texts()), refused(&[json!("Acme Corp"), long(65)])].concat(),
                ),
                (
                    "provider",
                    [
                        required(texts()),
                        refused(&[json!("no-such-provider"), long(65)]),
                    ]
                    .concat(),
                ),
                (
                    "label",
                    [
                        required(texts()),
                        refused(&[json!(" a"), json!("schlüssel"), long(65)]),
                    ]
                    .concat(),
                ),
                (
                    "environment",
                    [texts(), refused(&[json!("production"), json!("Live")])].concat(),
                ),
                ("secret", required(secrets())),
                (
                    "secretRef",
                    refused(&[
                        json!({ "path": "kv/teams/acme/openai", "field": "api_key" }),
                        json!("vault:kv/teams/acme/openai#api_key"),
                    ]),
                ),
                (
                    "usageTag",
                    [texts(), refused(&[json!("a "), long(65)])].concat(),
                ),
                ("expiresAt", times()),
                (
                    "endpoint",
                    [texts(), refused(&[json!("https://acme.openai.azure.com")])].concat(),
                ),
                ("default", flags()),
                unknown(),
            ],
        ),
        form(
            "POST",
            &format!("{credential}/rollback"),
            json!({ "version": 1 }),
            vec![
                (
                    "version",
                    [
                        numbers(),
                        refused(&[json!(0), json!(99), json!(1_u64 << 32)]),
                    ]
                    .concat(),
                ),
                unknown(),
            ],
        ),
        form(
            "PATCH",
            credential,
            json!({ "label": "edited" }),
            vec![
                (
                    "label",
                    [
                        texts(),
                        refused(&[json!(" a"), json!("schlüssel"), long(65)]),
                    ]
                    .concat(),
                ),
                (
                    "usageTag",
                    [texts(), refused(&[json!("a "), long(65)])].concat(),
                ),
                ("expiresAt", times()),
                ("default", [flags(), refused(&[json!(false)])].concat()),
                (
                    "secretRef",
                    refused(&[json!({ "path": "kv/teams/acme/openai", "field": "api_key" })]),
                ),
                ("graceSeconds", [numbers(), refused(&[json!(60)])].concat()),
                // Even as it is: what a credential is for is not for this request to say.
                (
                    "workspaceId",
                    [texts(), refused(&[json!("acme"), json!("other")])].concat(),
                ),
                (
                    "provider",
                    [texts(), refused(&[json!("openai"), json!("anthropic")])].concat(),
                ),
                (
                    "environment",
                    [texts(), refused(&[json!("live"), json!("sandbox")])].concat(),
                ),
                (
                    "endpoint",
                    [texts(), refused(&[json!("https://evil.example")])].concat(),
                ),
                unknown(),
            ],
        ),
        form(
            "PATCH",
            credential,
            json!({ "secret": OTHER }),
            vec![
                ("secret", required(secrets())),
                (
                    "graceSeconds",
                    [numbers(), refused(&[json!(90 * 86_400 + 1)])].concat(),
                ),
                ("expiresAt", times()),
                ("label", [texts(), refused(&[json!("other")])].concat()),
                (
                    "usageTag",
                    [texts(), refused(&[json!("other"), Value::Null])].concat(),
                ),
                ("default", [flags(), refused(&[json!(true)])].concat()),
                ("workspaceId", refused(&[json!("other")])),
                (
                    "secretRef",
                    refused(&[json!({ "path": "kv/teams/acme/openai", "field": "api_key" })]),
                ),
                unknown(),
            ],
        ),
        form(
            "POST",
            "/api/tokens",
            json!({ "name": "CI", "role": "viewer", "workspaces": ["acme"] }),
            vec![
                ("name", required(names())),
                (
                    "role",
                    [required(texts()), refused(&[json!("root"), json!("Owner")])].concat(),
                ),
                ("workspaces", sets()),
                ("expiresAt", times()),
                unknown(),
            ],
        ),
        form(
            "POST",
            "/api/workspaces",
            json!({ "id": "beta", "name": "Beta" }),
            vec![
                (
                    "id",
                    [
                        required(texts()),
                        refused(&[json!("A"), json!("a_b"), long(65)]),
                    ]
                    .concat(),
                ),
                ("name", names()),
                unknown(),
            ],
        ),
    ]
}

/// Empty, huge, of another type, with control characters: right in no field that takes a text.
fn texts() -> Vec<Value> {
    let texts = ["", "a\u{0}b", "a\tb", "a\r\nb", "a\u{1b}[2Jb", "\u{7f}"];
    let texts = texts.map(|text| json!(text)).into_iter();
    texts.chain([long(20_000)]).chain(of_no_text()).collect()
}

/// The same, and names that look like another one.
fn names() -> Vec<Value> {
    let hidden = ["ac\u{202e}me", "ac\u{200d}me", "acme\u{fe0f}", " "].map(|text| json!(text));
    [texts(), vec![long(201)], hidden.to_vec()].concat()
}

fn of_no_text() -> Vec<Value> {
    vec![
        json!(7),
        json!(1.5),
        json!(true),
        json!(["openai"]),
        json!({ "a": 1 }),
    ]
}

fn secrets() -> Vec<Value> {
    let more = [
        json!("\n"),
        json!("Canary7"),
        json!(" CanaryOfSpaces "),
        json!("CanaryOf\r\nTwoLines"),
        json!(format!("{OTHER}\n\n")),
        json!("CanaryOf\u{0}Nul"),
        json!("CanaryOfÜmlaut"),
        json!(["CanaryOfAList"]),
        json!({ "CanaryOfAnObject": 1 }),
        json!("sk-admin-CanaryOfAnAdminKey0123456789"),
        json!("eyJCanaryOfASession.0123456789"),
        long(8193),
    ];
    [texts(), more.to_vec()].concat()
}

fn times() -> Vec<Value> {
    let more = [
        json!("tomorrow"),
        json!("2027-01-31"),
        json!("2027-01-31T00:00:00"),
        json!("2027-02-30T00:00:00Z"),
        json!("2001-01-01T00:00:00Z"),
        json!(in_days(-1)),
        json!(1_800_000_000),
    ];
    [texts(), more.to_vec()].concat()
}

fn flags() -> Vec<Value> {
    let texts = ["", "yes", "true", "\u{0}"].map(|text| json!(text));
    let others = [json!(0), json!(1), json!([true]), json!({}), long(20_000)];
    [texts.to_vec(), others.to_vec()].concat()
}

fn numbers() -> Vec<Value> {
    let texts = ["", "60", "\u{0}"].map(|text| json!(text));
    let others = [
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(true),
        json!([1]),
        json!({}),
        long(20_000),
    ];
    [texts.to_vec(), others.to_vec()].concat()
}

fn sets() -> Vec<Value> {
    let many: Vec<_> = (0..1_001).map(|number| format!("w-{number}")).collect();
    vec![
        json!([]),
        json!(""),
        json!("acme"),
        json!(7),
        json!(true),
        json!({ "acme": true }),
        json!([7]),
        json!([["acme"]]),
        json!([null]),
        json!([""]),
        json!(["acme", "A b"]),
        json!(["acme\u{0}"]),
        json!([long(20_000)]),
        json!(many),
    ]
}

/// What cannot be left out is not null either.
fn required(values: Vec<Value>) -> Vec<Value> {
    [values, vec![Value::Null]].concat()
}

fn long(length: usize) -> Value {
    json!("x".repeat(length))
}

async fn send(api: &Api, form: &Form, body: &Value) -> Answer {
    let request = api
        .request(form.method, &form.path)
        .header("if-match", "*")
        .header("content-type", "application/json");
    api.send_body(request, body.to_string().into()).await
}

#[tokio::test]
async fn each_field_that_is_wrong_is_named_and_nothing_is_written() {
    let api = Api::with_workspace().await;
    let made = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let rotation = Form {
        method: "PATCH",
        path: made.header("location").to_owned(),
        good: json!({ "secret": format!("{OTHER}2") }),
        wrong: Vec::new(),
    };
    let rotated = send(&api, &rotation, &rotation.good).await;
    assert_eq!(rotated.status, StatusCode::OK, "{}", rotated.body);
    let forms = forms(&rotation.path);
    api.linked().await;
    let before = api.log.writes();
    let shown = api.everything().await;
    for form in &forms {
        for (field, values) in &form.wrong {
            for value in values {
                let mut body = form.good.clone();
                body[field] = value.clone();
                let answer = send(&api, form, &body).await;
                let value = value.to_string().chars().take(80).collect::<String>();
                let name = format!("{} {}: {field}: {value}", form.method, form.path);
                assert_eq!(
                    (answer.status, answer.kind().as_str()),
                    (StatusCode::UNPROCESSABLE_ENTITY, "fields-invalid"),
                    "{name}: {}",
                    answer.body
                );
                assert_eq!(answer.fields(), [*field], "{name}: {}", answer.body);
                let error = &answer.json()["errors"][0];
                assert_eq!(error["pointer"], format!("#/{field}"), "{name}");
                assert_ne!(error["detail"], "", "{name}");
                assert_eq!(api.log.writes(), before, "{name}: something was written");
            }
        }
    }
    assert_eq!(api.everything().await, shown);
    // It was the one field each time: without it, each of them is good.
    for form in &forms {
        let answer = send(&api, form, &form.good).await;
        assert!(answer.status.is_success(), "{}: {}", form.path, answer.body);
    }
}

#[tokio::test]
async fn a_missing_required_field_is_named() {
    let api = Api::with_workspace().await;
    api.linked().await;
    let before = api.log.writes();
    for form in forms("/none") {
        let required = form
            .wrong
            .iter()
            .filter(|(_, values)| form.method == "POST" && values.last() == Some(&Value::Null));
        for (field, _) in required.filter(|(field, _)| *field != "color") {
            let mut body = form.good.clone();
            body.as_object_mut().unwrap().remove(*field);
            let answer = send(&api, &form, &body).await;
            assert_eq!(answer.fields(), [*field], "{}: {}", form.path, answer.body);
        }
    }
    assert_eq!(api.log.writes(), before);
}
