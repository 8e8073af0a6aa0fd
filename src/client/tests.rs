//! Tests the client against admin APIs and other servers.

use std::{convert::Infallible, sync::Arc};

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::json;

use super::*;

/// Serves `router` on any port and returns its address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn get_workspaces(base: &str) -> Result<Value, ClientError> {
    Client::new(base, "token", &Trust::default())?
        .get("/api/workspaces")
        .await
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_said_in_plain_words() {
    let base = serve(Router::new()).await.replace("http:", "https:");
    let error = get_workspaces(&base).await.unwrap_err().to_string();
    assert!(error.contains("does not speak TLS"), "{error}");
}

#[test]
fn an_address_is_scheme_host_and_port_and_nothing_else() {
    for good in [
        "http://127.0.0.1:7381",
        "http://localhost:7381/",
        "http://[::1]:7381",
        "http://keyside",
    ] {
        assert!(
            Client::new(good, "token", &Trust::default()).is_ok(),
            "{good}"
        );
    }
    for bad in [
        "",
        "127.0.0.1:7381",
        "ftp://a",
        "http://",
        "http://user:pw@a",
        "http://a/path",
        "http://a/?q",
    ] {
        assert!(
            Client::new(bad, "token", &Trust::default()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_token_that_a_header_cannot_contain_is_not_repeated() {
    let error = Client::new("http://127.0.0.1:1", "sk-canary\nx", &Trust::default()).err();
    let said = error
        .map(|error| format!("{error} {error:?}"))
        .unwrap_or_default();
    assert!(said.contains("token") && !said.contains("canary"), "{said}");
}

#[tokio::test]
async fn a_refused_connection_is_reported_with_the_next_step() {
    let error = get_workspaces("http://127.0.0.1:1").await.unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(error.next_step().contains("keyside serve"));
}

#[tokio::test]
async fn a_problem_is_shown_with_its_fields_and_its_remedy() {
    let problem = json!({
        "type": "urn:keyside:problem:fields-invalid", "title": "t", "status": 422, "detail": "Not as expected.",
        "remedy": "Correct it.", "requestId": "req_1",
        "errors": [{ "field": "label", "pointer": "#/label", "detail": "is missing" }],
    });
    let router = Router::new().route(
        "/api/workspaces",
        get(async move || (StatusCode::UNPROCESSABLE_ENTITY, Json(problem))),
    );
    let error = get_workspaces(&serve(router).await).await.unwrap_err();
    assert_eq!(error.to_string(), "--label: is missing");
    assert!(error.next_step().contains("--help"), "{error}");
    assert!(error.is("fields-invalid") && !error.is("label-taken"));
}

#[tokio::test]
async fn something_else_on_that_port_is_not_taken_for_keyside() {
    let base = serve(Router::new()).await;
    let error = get_workspaces(&base).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::NotAdminApi {
                status: StatusCode::NOT_FOUND,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_does_not_take_the_token_elsewhere() {
    let router = Router::new()
        .route(
            "/api/workspaces",
            get(async || axum::response::Redirect::to("/elsewhere")),
        )
        .route("/elsewhere", get(async || Json(json!({}))));
    assert!(matches!(
        get_workspaces(&serve(router).await).await,
        Err(ClientError::NotAdminApi { .. })
    ));
}

#[tokio::test]
async fn the_token_travels_only_under_a_certificate_that_is_trusted() {
    let (base, authority) = serve_tls().await;
    let error = get_workspaces(&base).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(error.next_step().contains("SSL_CERT_FILE"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let trusting = |name: Option<&str>| {
        Trust::Authorities(Authorities {
            instead: Some(file.clone()),
            besides: None,
            name: name.map(str::to_owned),
        })
    };
    let get = async |base: &str, trust: &Trust| {
        let client = Client::new(base, "token", trust)?;
        client.get("/api/workspaces").await
    };
    let answer = get(&base, &trusting(None)).await.unwrap();
    assert_eq!(answer["authorization"], "Bearer token");

    // The certificate is for the name in the settings, and the address is this machine's.
    let local = base.replace("localhost", "127.0.0.1");
    assert!(get(&local, &trusting(None)).await.is_err());
    assert!(get(&local, &trusting(Some("localhost"))).await.is_ok());
    assert!(get(&local, &trusting(Some("other.example"))).await.is_err());
}

#[tokio::test]
async fn the_health_of_this_machines_process_is_read_under_any_certificate() {
    let (base, _) = serve_tls().await;
    let refused = probe(&base, "/readyz", &Trust::default()).await;
    assert!(refused.is_err());
    assert!(probe(&base, "/readyz", &Trust::Anyone).await.is_ok());
}

#[test]
fn a_file_of_authorities_that_is_of_no_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    let refused = || {
        let trust = Trust::Authorities(Authorities {
            besides: Some(file.clone()),
            ..Authorities::default()
        });
        let error = Client::new("https://localhost", "token", &trust).err();
        let error = error.map(|error| (error.to_string(), error.next_step()));
        error.unwrap_or_default()
    };
    let (said, next) = refused();
    assert!(said.contains("authority.pem, found: "), "{said}");
    assert!(next.contains("--ca-file"), "{next}");
    std::fs::write(&file, "no certificate").unwrap();
    let (said, _) = refused();
    assert!(said.contains("no certificates of authorities"), "{said}");
}

/// A server with a self-signed certificate, which responds with the request's `authorization`.
async fn serve_tls() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate ends the handshake.
            if let Ok(stream) = acceptor.accept(stream).await {
                let told = hyper::service::service_fn(async |request: Request<_>| {
                    let _: &hyper::body::Incoming = request.body();
                    let sent = request.headers().get(AUTHORIZATION);
                    let sent = sent.map(|sent| sent.to_str().unwrap());
                    let body = json!({ "authorization": sent }).to_string();
                    Ok::<_, Infallible>(hyper::Response::new(Full::<Bytes>::from(body)))
                });
                let stream = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(stream, told)
                    .await;
            }
        }
    });
    (base, made.cert.pem())
}

#[test]
fn a_secret_is_written_once_into_a_body_that_never_grows() {
    let secrets = [
        "sk-1".to_owned(),
        "\u{1}\u{2}\"\\é€😀\u{7f}".repeat(100),
        "\u{1f}".repeat(8_192),
    ];
    for secret in secrets {
        for others in [json!({}), json!({ "label": "a\"b", "default": false })] {
            let body = with_secret(Zeroizing::new(secret.clone()), &others);
            let mut expected = others.clone();
            expected["secret"] = json!(secret);
            let read: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(read, expected);
            let others = others.to_string().len();
            // Another capacity would be that of another buffer, and the first one freed as it was.
            assert!(
                body.capacity() <= 12 + 6 * secret.len() + others,
                "{others}"
            );
        }
    }
}
