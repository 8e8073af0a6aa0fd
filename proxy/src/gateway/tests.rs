use std::{
    backtrace::Backtrace,
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Mutex, PoisonError},
};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keyside_config::Sources;
use keyside_credentials::{
    ActorContext, ActorId, Clock, Kms, MasterKey, NewCredential, NewWorkspace, OpenOptions,
    Registry, SystemClock, Timestamp, runs::RunFilter,
};
use keyside_store::{Backend, Memory};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::Semaphore,
    task::JoinHandle,
};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::{activity::Activity, destination::SharedResources};

const CANARY: &str = "sk-proj-canary0panics0while0the0secret0is0open";

/// Panics while a request's secret is open and not yet sent.
struct BrokenClock;

impl Clock for BrokenClock {
    fn now(&self) -> Timestamp {
        panic!("the clock is broken")
    }
}

/// Captures log lines, panic messages and backtraces.
#[derive(Clone, Default)]
struct CapturedOutput(Arc<Mutex<Vec<u8>>>);

impl CapturedOutput {
    fn text(&self) -> String {
        let captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&captured).into_owned()
    }
}

impl io::Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        captured.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for CapturedOutput {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The default settings, with a provider where nothing listens.
fn settings() -> Settings {
    let (name, url) = ("KEYSIDE_PROVIDERS__OPENAI__BASE_URL", "http://127.0.0.1:1");
    let sources = Sources {
        file: None,
        environment: BTreeMap::from([(name.to_owned(), url.to_owned())]),
    };
    Settings::load(&sources).unwrap().settings
}

async fn registry(folder: &std::path::Path) -> Arc<Registry> {
    let master_key = MasterKey::parse(&[7; 32], "a test").unwrap();
    let settings = settings();
    let registry = Registry::open(OpenOptions {
        backend: Backend::of(Arc::new(Memory::new())),
        keyring: folder.join("keyring"),
        kms: Kms::local(master_key),
        catalogue: Arc::new(settings.catalogue),
        clock: Arc::new(SystemClock),
        rules: settings.credentials,
    })
    .await
    .unwrap();
    let by = ActorContext {
        actor: ActorId::system(),
        request_id: "test".to_owned(),
    };
    let workspace = NewWorkspace {
        id: "acme".parse().unwrap(),
        name: "Acme".parse().unwrap(),
    };
    registry.create_workspace(&by, workspace).await.unwrap();
    let secret = Secret::from_plaintext(CANARY.into()).unwrap();
    let (workspace, label) = ("acme".parse().unwrap(), "default".parse().unwrap());
    let credential = NewCredential::new(workspace, "openai", label, secret);
    registry.add(&by, credential).await.unwrap();
    registry
}

fn gateway(registry: &Registry) -> Gateway {
    let settings = settings();
    let metrics = Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap());
    let dependencies = Dependencies {
        settings: Arc::new(settings.clone()),
        egress: Arc::new(Egress::direct()),
        resolver: registry.resolver(),
        runs: registry.runs().clone(),
        links: None,
        metrics: metrics.clone(),
        drain: Drain::default(),
        collect: || (),
    };
    let proxy = &settings.proxy;
    let shared = SharedResources::new(
        &settings.catalogue,
        proxy,
        &dependencies.egress,
        Quota::new(16),
    );
    let destinations = Destinations::new(&settings.catalogue, &proxy.deadlines, &metrics, &shared);
    let policy = ListenerPolicy::new(&proxy.listeners[0], None, proxy);
    Gateway::new(&dependencies, policy, destinations, Quota::new(16))
}

/// A connection to the gateway, and the task that serves it. Code in this process adds `kind` to
/// each request.
fn connect(
    gateway: Arc<Gateway>,
    kind: Option<RunKind>,
) -> (DuplexStream, JoinHandle<hyper::Result<()>>) {
    let (client, server) = duplex(64 * 1024);
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let activity = Activity::new(Drain::default(), permit);
    let serving = tokio::spawn(async move {
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(kind) = kind {
                request.extensions_mut().insert(kind);
            }
            let (gateway, in_flight) = (gateway.clone(), activity.begin(false));
            async move { Ok::<_, Infallible>(gateway.answer(request, in_flight, true).await) }
        });
        let http = hyper::server::conn::http1::Builder::new();
        http.serve_connection(TokioIo::new(server), service).await
    });
    (client, serving)
}

#[tokio::test]
async fn only_code_in_this_process_says_what_a_request_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(folder.path()).await;
    let gateway = Arc::new(gateway(&registry));
    for (kind, expected) in [
        (None, RunKind::Traffic),
        (Some(RunKind::Preview), RunKind::Preview),
    ] {
        // One that is forwarded, although nobody answers, and one that is refused.
        for (path, is_forwarded) in [("v1/chat/completions", true), ("v1/nonsense", false)] {
            let (mut client, _) = connect(gateway.clone(), kind);
            let request = format!(
                "POST /w/acme/openai/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 X-Keyside-Kind: smoke\r\nX-Keyside-Run-Kind: smoke\r\nContent-Length: 2\r\n\r\n{{}}"
            );
            client.write_all(request.as_bytes()).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            registry.runs().flush().await;
            let run = registry
                .runs()
                .search(1, &RunFilter::default())
                .await
                .remove(0);
            assert_eq!(run.kind, expected, "{path}");
            assert_eq!(run.used.is_some(), is_forwarded, "{path}");
        }
    }
}

/// No request is known to make Keyside panic. If one does, neither log nor backtrace may contain
/// the key that is open at that moment, and the client gets no response.
#[tokio::test]
async fn a_panic_while_a_secret_is_open_does_not_show_it() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(folder.path()).await;
    let mut gateway = gateway(&registry);
    let ledger = Arc::get_mut(&mut gateway.ledger).unwrap();
    ledger.clock = Arc::new(BrokenClock);
    let gateway = Arc::new(gateway);
    let captured = CapturedOutput::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let panicked = captured.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = Backtrace::force_capture();
        let _ = io::Write::write_all(
            &mut panicked.clone(),
            format!("{panic}\n{backtrace}").as_bytes(),
        );
    }));

    let (mut client, serving) = connect(gateway, None);
    let request = "POST /w/acme/openai/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();

    let ended = serving.await;
    // Restores the default hook, so that this test's own failures are reported.
    drop(std::panic::take_hook());
    assert!(ended.unwrap_err().is_panic());
    assert!(answer.is_empty());
    let captured = captured.text();
    assert!(captured.contains("the clock is broken"), "{captured}");
    assert!(captured.contains("BrokenClock"), "no backtrace: {captured}");
    assert!(!captured.contains(CANARY));
}
