//! Loading settings from a file and the environment: precedence, origins and errors.

mod checks_and_limits;
mod kms;
mod names;

use std::{fs, io::Write, net::SocketAddr, time::Duration};

use super::*;
use crate::{EnvironmentPin, ListenAddress, LocalKms, Store, Upstream};

/// A settings file of a test, deleted when it is dropped.
struct TempSettings(PathBuf);

impl TempSettings {
    fn new(text: &str) -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "keyside-{}-{}.toml",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = env::temp_dir().join(name);
        fs::File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        Self(path)
    }
}

impl Drop for TempSettings {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let file = TempSettings::new(text);
    let environment = variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let sources = Sources {
        file: Some(file.0.clone()),
        environment,
    };
    let folder = format!("{}/", env::temp_dir().display());
    let stem = file.0.file_name().unwrap().to_str().unwrap().to_owned();
    Settings::load(&sources).map_err(|error| {
        error
            .to_string()
            .replace(&folder, "")
            .replace(&stem, "k.toml")
    })
}

fn complaint(text: &str, variables: &[(&str, &str)]) -> String {
    load(text, variables).expect_err("a complaint")
}

#[test]
fn without_settings_the_documented_defaults_apply() {
    let Loaded { settings, .. } = Settings::load(&Sources::default()).unwrap();
    let [listener] = &settings.proxy.listeners[..] else {
        panic!("one listener")
    };
    assert_eq!(listener.address.to_string(), "127.0.0.1:7380");
    assert_eq!(listener.environment, EnvironmentPin::Any);
    assert_eq!(settings.proxy.tag_headers, ["x-keyside-workspace"]);
    assert_eq!(settings.proxy.deadlines.drain, Duration::from_secs(25));
    assert_eq!(settings.proxy.limits.connections, 10_000);
    assert_eq!(settings.admin.public_url, "http://127.0.0.1:7381");
    assert_eq!(
        settings.observe.listen,
        SocketAddr::from(([127, 0, 0, 1], 7382))
    );
    assert_eq!(
        settings.store,
        Store::Sled {
            path: "data".into()
        }
    );
    assert_eq!(
        settings.kms,
        Kms::Local(LocalKms {
            master_key: MasterKeySource::Generated("data.master-key".into()),
            previous_master_key: None,
        })
    );
    assert_eq!(settings.credentials.expiring_days, 30);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let text = "[proxy]\nthreads = 2\n[runs]\nkeep = 5\n";
    let Loaded {
        settings,
        effective,
    } = load(text, &[("KEYSIDE_PROXY__THREADS", "4")]).unwrap();
    assert_eq!((settings.proxy.threads, settings.runs.keep), (4, 5));
    let origin = |key: &str| {
        effective
            .iter()
            .find(|setting| setting.key == key)
            .unwrap()
            .origin
            .to_string()
    };
    assert_eq!(origin("proxy.threads"), "KEYSIDE_PROXY__THREADS");
    assert!(origin("runs.keep").ends_with(".toml:4"));
    assert_eq!(origin("proxy.limits.streams"), "default");
}

#[test]
fn entries_of_listen_inherit_what_they_do_not_set() {
    let text = r#"
        [proxy]
        listen = ["127.0.0.1:0", { address = "unix:/run/k.sock", workspaces = ["acme"], peer_uids = [1000] }]
        environment = "sandbox"
        "#;
    let listeners = load(text, &[]).unwrap().settings.proxy.listeners;
    assert_eq!(listeners[0].workspaces, [""; 0]);
    assert_eq!(
        listeners[1].address,
        ListenAddress::Unix("/run/k.sock".into())
    );
    assert_eq!(
        (&listeners[1].workspaces[..], &listeners[1].peer_uids[..]),
        (&["acme".to_owned()][..], &[1000][..])
    );
    assert!(
        listeners
            .iter()
            .all(|listener| listener.environment == EnvironmentPin::Sandbox)
    );
}

#[test]
fn a_variable_holds_a_list_separated_by_commas() {
    let variables = [("KEYSIDE_PROXY__LISTEN", "127.0.0.1:0, unix:/run/k.sock")];
    assert_eq!(
        load("", &variables).unwrap().settings.proxy.listeners.len(),
        2
    );
}

#[test]
fn an_error_names_place_problem_and_remedy() {
    let cases = [
        ("[proxy]\nlisten", "k.toml:2:7: "),
        (
            "[proxy]\nlisen = []",
            "k.toml:2: unknown key `proxy.lisen`; the nearest known one is `proxy.listen`",
        ),
        (
            "[proxi]\n",
            "k.toml:1: unknown key `proxi`; the nearest known one is `proxy`",
        ),
        (
            "[proxy]\ndrian = '1s'",
            "k.toml:2: unknown key `proxy.drian`; the nearest known one is `proxy.deadlines.drain`",
        ),
        (
            "[proxy]\nlisten = [{ adress = '' }]",
            "k.toml:2: unknown key `proxy.listen[0].adress`; the nearest known one is `proxy.listen[0].address`",
        ),
        (
            "[proxy]\nlisten = []",
            "k.toml:2: `proxy.listen`: expected at least one address",
        ),
        (
            "[proxy]\nlisten = [\n '127.0.0.1']",
            "k.toml:3: `proxy.listen[0]`: expected IP:PORT",
        ),
        (
            "[proxy]\nlisten = ['[::1]:1', '[::1]:1']",
            "k.toml:2: `proxy.listen`: an address is listed twice",
        ),
        (
            "[proxy]\npeer_uids = [1]",
            "k.toml:2: `proxy.peer_uids`: a TCP connection tells no user id",
        ),
        (
            "[proxy]\nworkspaces = ['A']",
            "k.toml:2: `proxy.workspaces[0]`: expected an id of 1 to 64 of",
        ),
        (
            "[proxy]\nhosts = ['a:1']",
            "k.toml:2: `proxy.hosts[0]`: expected a host name or an IP address, without a port",
        ),
        (
            "[proxy]\ntag_headers = ['Host']",
            "k.toml:2: `proxy.tag_headers[0]`: this header has another meaning",
        ),
        (
            "[proxy]\ntag_headers = ['X_Api_Key']",
            "k.toml:2: `proxy.tag_headers[0]`: a header of this name can carry a key",
        ),
        (
            "[proxy]\nlisten = [{ address = '[::1]:1', peer_uids = [1] }]",
            "k.toml:2: `proxy.listen`: a TCP connection tells no user id",
        ),
        (
            "[proxy]\nlisten = [{ address = '[::1]:1', workspaces = ['a b'] }]",
            "k.toml:2: `proxy.listen[0].workspaces[0]`: expected an id",
        ),
        (
            "[store]\npath = ''",
            "k.toml:2: `store.path`: expected a path",
        ),
        (
            "[proxy]\nenvironment = 'prod'",
            "k.toml:2: `proxy.environment`: expected one of any, sandbox, live",
        ),
        (
            "[proxy]\nthreads = 'two'",
            "k.toml:2: `proxy.threads`: expected a whole number from 0, found a string",
        ),
        (
            "[proxy.limits]\nheader_bytes = 100",
            "k.toml:2: `proxy.limits.header_bytes`: expected a whole number from 8192 to 16777216",
        ),
        (
            "[proxy.deadlines]\nheader = '9999h'",
            "k.toml:2: `proxy.deadlines.header`: expected a duration of at most \"168h\"",
        ),
        (
            "\"pro\\nxy\" = 0",
            "k.toml:1: unknown key `pro\\nxy`; the nearest known one is `proxy`",
        ),
        (
            "[proxy.limits]\nheaders = 0",
            "k.toml:2: `proxy.limits.headers`: expected a whole number from 1 to 10000",
        ),
        (
            "[proxy.deadlines]\nidle = '0s'",
            "k.toml:2: `proxy.deadlines.idle`: expected a duration longer than zero",
        ),
        (
            "[proxy.deadlines]\nidle = 75",
            "k.toml:2: `proxy.deadlines.idle`: expected a string, found a number",
        ),
        (
            "proxy = 1",
            "k.toml:1: `proxy`: expected a table, found a number",
        ),
        (
            "[admin]\nlisten = 'unix:/a'",
            "k.toml:2: `admin.listen`: expected IP:PORT",
        ),
        (
            "[admin]\npublic_url = 'keys.example'",
            "k.toml:2: `admin.public_url`: expected a URL",
        ),
        (
            "[store]\nbackend = 'redis'",
            "k.toml:2: `store.backend`: expected one of sled, vault, none",
        ),
        (
            "[providers.openai]\nbase_urls = ''",
            "k.toml:2: unknown key `providers.openai.base_urls`; the nearest known one is `providers.openai.base_url`",
        ),
        (
            "[providers.openai]\nbase_url = 'http://api.openai.com'",
            "k.toml:2: `providers.openai.base_url`: plain http:// is for loopback",
        ),
        (
            "[providers.mine]\nname = 'Mine'",
            "k.toml:1: `providers.mine`: `base_url` is missing",
        ),
        (
            "[providers.opnai]\nname = 'Mine'",
            "k.toml:1: `providers.opnai`: `base_url` of a new provider is missing; did you mean openai?",
        ),
        (
            "[providers.Mine]\nname = 'Mine'",
            "k.toml:1: `providers.Mine`: a provider id is",
        ),
        (
            "[providers.w]\nbase_url = 'https://w.example'",
            "k.toml:1: `providers.w`: a provider id is",
        ),
        (
            "[providers.openai.headers]\nauthorization = 'x'",
            "k.toml:2: `providers.openai.headers.authorization`: a key is added with",
        ),
        (
            "[providers.openai]\nauth = { header = 'x-mine' }\nheaders = { x-mine = 'x' }",
            "k.toml:3: `providers.openai.headers.x-mine`: a key is added with",
        ),
        (
            "[providers.openai.headers]\nx-auth-token = 'x'",
            "k.toml:2: `providers.openai.headers.x-auth-token`: a key is added with",
        ),
        (
            "[providers.openai]\nbase_url = 'https://168.63.129.16'",
            "k.toml:2: `providers.openai.base_url`: this is the address of a cloud's metadata service",
        ),
        (
            "[providers.openai]\nbase_url = 'https://metadata.google.internal'",
            "k.toml:2: `providers.openai.base_url`: this is the address of a cloud's metadata service",
        ),
        (
            "[providers.openai]\nextra_routes = [{ request = 'GET /v1/*', except = ['a/b'] }]",
            "k.toml:2: `providers.openai.extra_routes[0].except[0]`: expected one segment of letters, digits",
        ),
        (
            "[providers.openai]\nextra_routes = [{ request = 'GET /v1/a', below = '/*' }]",
            "k.toml:2: `providers.openai.extra_routes[0].below`: expected a path without *",
        ),
        (
            "[providers.openai]\nsubprotocols = ['real time']",
            "k.toml:2: `providers.openai.subprotocols[0]`: expected the name of a WebSocket subprotocol",
        ),
        (
            "[providers.openai.headers]\nApiKey = 'x'",
            "k.toml:2: `providers.openai.headers.ApiKey`: a key is added with",
        ),
        (
            "[providers.openai]\nauth = { header = 'x-mine' }\nheaders = { X_Mine = 'x' }",
            "k.toml:3: `providers.openai.headers.X_Mine`: a key is added with",
        ),
        (
            "[providers.mine]\nbase_url = 'https://mine.example'\nauth = { query = 'a&key' }",
            "k.toml:3: `providers.mine.auth.query`: expected a parameter's name",
        ),
        (
            "[[providers.openai.usage]]\nat = ['usage', 'a b']",
            "k.toml:2: `providers.openai.usage[0].at[1]`: expected up to four keys",
        ),
        (
            "[[providers.openai.usage]]\ninput = ['a +']",
            "k.toml:2: `providers.openai.usage[0].input[0]`: expected paths with ` + ` or ` - `",
        ),
        (
            "[[providers.openai.usage]]\nends = ['done']",
            "k.toml:2: `providers.openai.usage[0].ends[0]`: expected a path and a text",
        ),
        (
            "[[providers.openai.usage]]\nkey = 'usage'",
            "k.toml:2: unknown key `providers.openai.usage[0].key`; ",
        ),
        (
            "[providers.openai.development]\nexpires_in = '30 days'",
            "k.toml:2: `providers.openai.development.expires_in`: expected whole days from \"1d\"",
        ),
        (
            "[providers.openai.development]\nsteps = ['Set a cap.', '']",
            "k.toml:2: `providers.openai.development.steps[1]`: expected a sentence on one line",
        ),
        (
            "[[providers.openai.development.links]]\nname = 'Limits'\nurl = 'http://docs.example'",
            "k.toml:3: `providers.openai.development.links[0].url`: expected the https:// address",
        ),
    ];
    for (text, expected) in cases {
        let complaint = complaint(text, &[]);
        assert!(
            complaint.starts_with(expected),
            "{text}\n  gave {complaint}\n  not  {expected}"
        );
    }
}

#[test]
fn every_table_knows_its_keys() {
    let tree = over_defaults(&Sources::default().written().unwrap());
    let tables = tree
        .leaves()
        .into_iter()
        .filter_map(|(key, _)| key.rsplit_once('.').map(|(table, _)| table.to_owned()));
    // A stray cause is answered with the names of all causes.
    let free = |table: &String| table.ends_with(".headers") || table.ends_with(".check.next");
    for table in tables
        .filter(|table| !free(table))
        .collect::<std::collections::BTreeSet<_>>()
    {
        let complaint = complaint(&format!("[{table}]\nstray = 1"), &[]);
        assert!(
            complaint.starts_with(&format!("k.toml:2: unknown key `{table}.stray`; ")),
            "{complaint}"
        );
    }
}

#[test]
fn a_value_from_the_environment_is_never_repeated() {
    const CANARY: &str = "canary-4711";
    let keys = over_defaults(&Sources::default().written().unwrap());
    let names = keys.leaves().into_iter().map(|(key, _)| {
        format!(
            "KEYSIDE_{}",
            key.replace('.', "__").replace('-', "_").to_uppercase()
        )
    });
    let mut complaints = 0;
    for name in names.chain([
        "KEYSIDE_PROXY__LIMITS".into(),
        "KEYSIDE_A__B".into(),
        "KMS_DRIVER".into(),
    ]) {
        if let Err(complaint) = load("", &[(&name, CANARY)]) {
            // A setting of Vault that is valid alone but not with others.
            let is_of_it =
                complaint.starts_with(&name) || complaint.starts_with("default: `vault.");
            assert!(is_of_it && !complaint.contains(CANARY), "{complaint}");
            complaints += 1;
        }
    }
    assert!(complaints > 100, "{complaints}");
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources {
        file: Some("/nowhere/keyside.toml".into()),
        ..Sources::default()
    };
    let error = Settings::load(&sources).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read the settings file /nowhere/keyside.toml: "),
        "{error}"
    );
}

#[test]
fn the_public_url_follows_the_admin_listener() {
    let Loaded { settings, .. } = load("[admin]\nlisten = '127.0.0.1:9000'", &[]).unwrap();
    assert_eq!(settings.admin.public_url, "http://127.0.0.1:9000");
    let Loaded { settings, .. } =
        load("[admin]\npublic_url = 'https://keys.example/'", &[]).unwrap();
    assert_eq!(settings.admin.public_url, "https://keys.example");
}

#[test]
fn a_provider_can_be_pointed_elsewhere_by_file_or_environment() {
    let text = "[providers.azure-openai]\nbase_url = 'http://127.0.0.1:1'";
    let variables = [(
        "KEYSIDE_PROVIDERS__OPENAI__BASE_URL",
        "https://gateway.example/openai/",
    )];
    let Loaded {
        settings,
        effective,
    } = load(text, &variables).unwrap();
    let url = |id: &str| match &settings.catalogue.get(id).unwrap().upstream {
        Upstream::Fixed(url) => url.to_string(),
        Upstream::PerCredential(_) => panic!("a fixed one"),
    };
    assert_eq!(url("openai"), "https://gateway.example/openai");
    assert_eq!(url("azure-openai"), "http://127.0.0.1:1");
    let providers = effective
        .iter()
        .filter(|setting| setting.key.starts_with("providers."));
    assert_eq!(providers.count(), 2);
}

#[test]
fn advice_on_keys_for_development_is_laid_over_the_built_in_one() {
    // The example of the page is the other half of the settings.
    let page = include_str!("../../../docs/INTEGRATIONS.md");
    let (_, example) = page.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let text = format!("[providers.openai.development]\nexpires_in = '7d'\n{example}");
    let Loaded { settings, .. } = load(&text, &[]).unwrap();
    let advice = |id: &str| settings.catalogue.get(id).unwrap().development.clone();
    assert_eq!(advice("openai").expires_in_days, Some(7));
    assert!(!advice("openai").steps.is_empty());
    let mine = advice("mine");
    assert_eq!((mine.expires_in_days, mine.steps.len()), (Some(30), 1));
    assert_eq!(mine.links[0].name, "Caps");
}

#[test]
fn a_new_provider_needs_only_a_base_url_and_speaks_openai() {
    let Loaded { settings, .. } = load(
        "[providers.local-llama]\nbase_url = 'http://[::1]:8080'",
        &[],
    )
    .unwrap();
    let provider = settings.catalogue.get("local-llama").unwrap();
    assert_eq!(provider.name, "local-llama");
    assert!(
        provider
            .route(&http::Method::POST, "/v1/chat/completions")
            .is_some()
    );
}
