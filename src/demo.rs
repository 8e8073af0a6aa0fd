//! `keyside demo`: runs all of Keyside on throwaway data, with a built-in provider.
//!
//! It shows the whole path of a request without a key or an account.

mod sandbox;

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use keyside_config::{DUMMY_KEY, ListenAddress, Settings, Sources};
use keyside_credentials::{
    ActorContext, ActorId, Environment, MasterKey, NewCredential, NewWorkspace, Secret,
};
use sandbox::Sandbox;
use tempfile::TempDir;

use crate::{
    app::{self, Addresses, App},
    failure::Failure,
    lifecycle::Signals,
    validated_settings::{Process, ValidatedSettings},
};

/// Runs until a signal, then deletes its data; also if the signal comes during the start, or the
/// start fails. It never reads the settings of a real installation, whose master key it could open
/// and replace: of `sources` it uses only the listen addresses in the environment.
pub(crate) fn run(sources: &Sources) -> Result<(), Failure> {
    let runtime = app::runtime()?;
    // Before there is a folder: a signal without a handler ends the process and leaves the folder.
    let mut signals = Signals::on(&runtime).map_err(Failure::failed)?;
    let folder = TempDir::with_prefix("keyside-demo-").map_err(Failure::failed)?;
    let provider = TcpListener::bind("127.0.0.1:0").map_err(Failure::failed)?;
    let address = provider.local_addr().map_err(Failure::failed)?;
    create_master_key(&master_key(folder.path())).map_err(Failure::failed)?;
    let settings = Settings::load(&throwaway(sources, folder.path(), address))?.settings;
    let validated = ValidatedSettings::new(settings, Process::Serve)?;
    let Some(app) = App::open(validated, runtime)? else {
        return Ok(());
    };
    // Random and as long as a real key, so that no demo has a known key.
    let key = format!("sandbox-{}", random_hex()?);
    app.runtime
        .spawn(serve_sandbox(provider, Sandbox::new(key.clone())));
    app.runtime.block_on(add_key(&app, key))?;
    if let Some(signal) = app.runtime.block_on(signals.received()) {
        tracing::info!(signal, "stopped before it was ready");
        return Ok(());
    }
    let token = folder.path().join("data").join("admin-token");
    let ready = app.bind()?.stopped_by(signals);
    let link = ready.sign_in_link().unwrap_or_default();
    ready.run(move |addresses| print(&greeting(addresses, &token, &link)));
    Ok(())
}

/// Ignores a closed standard output: the demo works without its message.
fn print(lines: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(lines.as_bytes())
        .and_then(|()| stdout.flush());
}

/// The path of the demo's master key. The settings name it, because Keyside warns of a master key
/// that it generated beside the data.
fn master_key(folder: &Path) -> PathBuf {
    folder.join("master-key")
}

fn create_master_key(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    writeln!(file?, "{}", *MasterKey::generate())
}

/// The demo's settings: data and master key in `folder`, the sandbox at `provider`.
///
/// The connection limits are small enough for a low limit on open files, which would be a warning.
/// On a terminal only warnings and requests are logged, so that the message stays visible.
fn throwaway(sources: &Sources, folder: &Path, provider: SocketAddr) -> Sources {
    let data = folder.join("data").display().to_string();
    let master_key = master_key(folder).display().to_string();
    let base_url = format!("http://{provider}");
    let limit = CONNECTIONS.to_string();
    let mut environment = vec![
        ("KEYSIDE_STORE__PATH", data),
        ("KMS_MASTER_KEY_FILE", master_key),
        ("KEYSIDE_PROVIDERS__SANDBOX__BASE_URL", base_url),
        ("KEYSIDE_EGRESS__PROXY", "direct".to_owned()),
        ("KEYSIDE_PROXY__LIMITS__CONNECTIONS", limit.clone()),
        ("KEYSIDE_PROXY__LIMITS__UPSTREAM_CONNECTIONS", limit),
    ];
    if io::stderr().is_terminal() {
        environment.push(("KEYSIDE_LOG__FILTER", FILTER.to_owned()));
    }
    environment.extend(DEFAULT_PORTS.map(|(name, port)| {
        let address = listen(sources.environment.get(name), port);
        (name, address.to_string())
    }));
    let environment = environment.into_iter();
    Sources {
        file: None,
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

/// The TCP address in the environment, else the default one, else any port if that one is in use.
fn listen(configured: Option<&String>, port: u16) -> SocketAddr {
    let configured = configured.and_then(|address| address.parse().ok());
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = || TcpListener::bind(default).and_then(|socket| socket.local_addr());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    configured.or_else(|| free().ok()).unwrap_or(any)
}

async fn serve_sandbox(socket: TcpListener, sandbox: Sandbox) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::TcpListener::from_std(socket)?;
    axum::serve(socket, sandbox::router(sandbox)).await
}

async fn add_key(app: &App, key: String) -> Result<(), Failure> {
    let Some(registry) = app.backing.registry() else {
        return Err(Failure::failed("the demo has no store"));
    };
    let by = ActorContext {
        actor: "demo".parse::<ActorId>().map_err(Failure::failed)?,
        request_id: "demo".into(),
    };
    let workspace = NewWorkspace {
        id: WORKSPACE.parse().map_err(Failure::failed)?,
        name: "Demo".parse().map_err(Failure::failed)?,
    };
    registry
        .create_workspace(&by, workspace)
        .await
        .map_err(Failure::failed)?;
    let secret = Secret::from_plaintext(key.into_bytes()).map_err(Failure::failed)?;
    let credential = NewCredential {
        environment: Environment::Sandbox,
        default: true,
        ..NewCredential::new(
            WORKSPACE.parse().map_err(Failure::failed)?,
            "sandbox",
            "demo".parse().map_err(Failure::failed)?,
            secret,
        )
    };
    registry
        .add(&by, credential)
        .await
        .map_err(Failure::failed)?;
    Ok(())
}

fn greeting(addresses: &Addresses, token: &Path, link: &str) -> String {
    let proxy = addresses.proxy.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(address.to_string()),
        ListenAddress::Unix(_) => None,
    });
    let base = format!("http://{}/w/{WORKSPACE}/sandbox", proxy.unwrap_or_default());
    let admin = addresses
        .admin
        .map_or(String::new(), |admin| admin.to_string());
    let token = token.display();
    format!(
        r#"Keyside is running on throwaway data, with a built-in provider and its key. Ctrl-C ends it.

Open the admin page within five minutes (later, sign in with the token in {token}):

  {link}

Send a request without a key; Keyside attaches it:

  curl -N {base}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":"sandbox","stream":true,"messages":[{{"role":"user","content":"Say hello"}}]}}'

Point an SDK at it (SDKs refuse an empty key; the dummy never leaves):

  export OPENAI_BASE_URL={base}/v1 OPENAI_API_KEY={DUMMY_KEY}
  export ANTHROPIC_BASE_URL={base} ANTHROPIC_API_KEY={DUMMY_KEY}

See the key it used; nothing shows its secret:

  curl -H "authorization: Bearer $(cat {token})" http://{admin}/api/integrations/credentials

"#
    )
}

fn random_hex() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Failure::failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const WORKSPACE: &str = "demo";

/// Enough for a person with a few SDKs.
const CONNECTIONS: usize = 256;

/// The log filter on a terminal: warnings, and one line per request.
const FILTER: &str = "warn,keyside::request=info";

const DEFAULT_PORTS: [(&str, u16); 3] = [
    ("KEYSIDE_PROXY__LISTEN", 7380),
    ("KEYSIDE_ADMIN__LISTEN", 7381),
    ("KEYSIDE_OBSERVE__LISTEN", 7382),
];
