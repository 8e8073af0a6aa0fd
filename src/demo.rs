//! `keyside demo`: all of Keyside on throwaway data, with a provider of its own,
//! so that the whole way of a request can be seen without a key or an account.

mod sandbox;

use crate::app::{Addresses, App};
use crate::failure::Failure;
use crate::runnable::{Process, Runnable};
use keyside_config::{DUMMY_KEY, ListenAddress, Settings, Sources};
use keyside_credentials::{
    ActorContext, ActorId, Environment, MasterKey, NewCredential, NewWorkspace, Secret,
};
use sandbox::Sandbox;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Runs until a signal; what it stored is then gone. Nothing of a real installation is looked at: its master key could be
/// opened here, and replaced. Of `sources` only the addresses in the environment count.
pub(crate) fn run(sources: &Sources) -> Result<(), Failure> {
    let folder = TempDir::with_prefix("keyside-demo-").map_err(failed)?;
    let provider = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = provider.local_addr().map_err(failed)?;
    make_master_key(&master_key(folder.path())).map_err(failed)?;
    let settings = Settings::load(&throwaway(sources, folder.path(), address))?.settings;
    let Some(app) = App::open(Runnable::of(settings, Process::Serve)?)? else {
        return Ok(());
    };
    // As long as a real one, and made anew: nothing about the demo is a known key.
    let key = format!("sandbox-{}", random_hex()?);
    app.runtime
        .spawn(serve_sandbox(provider, Sandbox::new(key.clone())));
    app.runtime.block_on(add_key(&app, key))?;
    let token = folder.path().join("data").join("admin-token");
    app.bind()?
        .run(move |addresses| tell(&greeting(addresses, &token)));
    Ok(())
}

/// Whoever reads the lines may have left; what they describe runs all the same.
fn tell(lines: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(lines.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Where the demo's master key is. Named in the settings like one that is kept on purpose: that it goes with the data is
/// what the demo is for, and no reason for a warning.
fn master_key(folder: &Path) -> PathBuf {
    folder.join("master-key")
}

fn make_master_key(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    writeln!(file?, "{}", *MasterKey::generate())
}

/// Settings of the demo's own: data and master key in `folder`, the sandbox at `provider`.
fn throwaway(sources: &Sources, folder: &Path, provider: SocketAddr) -> Sources {
    let data = folder.join("data").display().to_string();
    let mut environment = BTreeMap::from([
        ("KEYSIDE_STORE__PATH".to_owned(), data),
        (
            "KMS_MASTER_KEY_FILE".to_owned(),
            master_key(folder).display().to_string(),
        ),
        (
            "KEYSIDE_PROVIDERS__SANDBOX__BASE_URL".to_owned(),
            format!("http://{provider}"),
        ),
        ("KEYSIDE_EGRESS__PROXY".to_owned(), "direct".to_owned()),
    ]);
    for (name, port) in USUAL_PORTS {
        let address = listen(sources.environment.get(name), port);
        environment.insert(name.to_owned(), address.to_string());
    }
    let file = None;
    Sources { file, environment }
}

/// The one TCP address that was asked for, else the usual one, else, where that is taken, any port.
fn listen(asked: Option<&String>, port: u16) -> SocketAddr {
    let asked = asked.and_then(|address| address.parse().ok());
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = || TcpListener::bind(usual).and_then(|socket| socket.local_addr());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    asked.or_else(|| free().ok()).unwrap_or(any)
}

async fn serve_sandbox(socket: TcpListener, sandbox: Sandbox) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::TcpListener::from_std(socket)?;
    axum::serve(socket, sandbox::router(sandbox)).await
}

async fn add_key(app: &App, key: String) -> Result<(), Failure> {
    let Some(registry) = app.backing.registry() else {
        return Err(failed("the demo has no store"));
    };
    let by = ActorContext {
        actor: "demo".parse::<ActorId>().map_err(failed)?,
        request_id: "demo".into(),
    };
    let workspace = NewWorkspace {
        id: WORKSPACE.parse().map_err(failed)?,
        name: "Demo".into(),
    };
    registry
        .create_workspace(&by, workspace)
        .await
        .map_err(failed)?;
    let credential = NewCredential {
        workspace: WORKSPACE.parse().map_err(failed)?,
        provider: "sandbox".into(),
        label: "demo".parse().map_err(failed)?,
        environment: Environment::Sandbox,
        secret: Secret::from_plaintext(key.into_bytes())
            .map_err(failed)?
            .into(),
        usage_tag: None,
        expires_at: None,
        endpoint: None,
        default: true,
        idempotency: None,
    };
    registry.add(&by, credential).await.map_err(failed)?;
    Ok(())
}

fn greeting(addresses: &Addresses, token: &Path) -> String {
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
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn failed(error: impl Display) -> Failure {
    Failure::failed(error.to_string())
}

const WORKSPACE: &str = "demo";

const USUAL_PORTS: [(&str, u16); 3] = [
    ("KEYSIDE_PROXY__LISTEN", 7380),
    ("KEYSIDE_ADMIN__LISTEN", 7381),
    ("KEYSIDE_OBSERVE__LISTEN", 7382),
];
