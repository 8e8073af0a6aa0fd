//! Starts Keyside: settings, environment, and waiting until it is ready.

use std::{fs, path::Path, process::Command, sync::Arc};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    PATIENCE,
    keyside::Keyside,
    process::{Exit, Process},
    terminal::{self, Terminal},
};

/// Settings for starting Keyside.
#[derive(Clone)]
pub struct Builder {
    home: Arc<TempDir>,
    settings: Vec<(String, String)>,
    tables: String,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    launcher: Vec<String>,
}

impl Builder {
    /// `serve` on port 0 everywhere, with a new folder.
    pub fn new() -> Self {
        let builder = Builder {
            home: Arc::new(TempDir::new().expect("a temporary folder")),
            settings: Vec::new(),
            tables: String::new(),
            variables: Vec::new(),
            arguments: vec!["serve".to_owned()],
            launcher: Vec::new(),
        };
        builder
            .set("proxy.listen", r#"["127.0.0.1:0"]"#)
            .set("proxy.threads", "1")
            .set("admin.listen", r#""127.0.0.1:0""#)
            .set("observe.listen", r#""127.0.0.1:0""#)
            .set("store.path", r#""data""#)
    }

    /// `keyside proxy` instead of `serve`: without a store, with [declared](Self::declare) keys.
    pub fn sidecar() -> Self {
        Self::new()
            .unset("store.path")
            .set("store.backend", r#""none""#)
            .arguments(&["proxy"])
    }

    /// Declares a key whose secret is in a file in the folder.
    pub fn declare(self, workspace: &str, provider: &str, label: &str, file: &str) -> Self {
        let path = self.home().join(file);
        let source = format!("file:{}", path.display());
        self.config(&format!(
            "[[credential]]\nworkspace = {workspace:?}\nprovider = {provider:?}\nlabel = {label:?}\nsource = {source:?}\n"
        ))
    }

    /// Sets one setting by its dotted name; the value is TOML. The last value wins.
    pub fn set(self, name: &str, toml: &str) -> Self {
        let mut builder = self.unset(name);
        builder.settings.push((name.to_owned(), toml.to_owned()));
        builder
    }

    /// Resets a setting to its default.
    pub fn unset(mut self, name: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self
    }

    /// Points a provider of the catalogue at a server of the test.
    pub fn provider(self, id: &str, base_url: &str) -> Self {
        self.set(
            &format!("providers.{id}.base_url"),
            &format!("{base_url:?}"),
        )
    }

    /// Whole TOML tables, written after the settings.
    pub fn config(mut self, toml: &str) -> Self {
        self.tables.push_str(toml);
        self.tables.push('\n');
        self
    }

    /// A variable of the process's environment, which is otherwise empty.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command line after the binary's name; without any it is `serve`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        self
    }

    /// A wrapper command that finally executes the binary with its arguments.
    pub fn launched_by(mut self, launcher: &[&str]) -> Self {
        self.launcher = launcher.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets the limit on open files, in the form of the shell's `ulimit`.
    pub fn open_files(self, limit: &str) -> Self {
        let script = format!(r#"ulimit {limit}; exec "$0" "$@""#);
        self.launched_by(&["/bin/sh", "-c", &script])
    }

    /// The folder that holds `keyside.toml`, `data/` and the master key, and is the working folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Keyside {
        self.try_start()
            .unwrap_or_else(|exit| panic!("did not start: {exit:#?}"))
    }

    /// Starts it; an error is a process that exited before it was ready.
    pub fn try_start(self) -> Result<Keyside, Exit> {
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        let mut process = self.spawn(&arguments, None);
        let is_ready = |line: &Value| field(line, "message").as_deref() == Some("ready");
        let Some(ready) = process.log_line(is_ready) else {
            return Err(process.exit_within(PATIENCE));
        };
        let address = |name| field(&ready, name).unwrap_or_else(|| panic!("no {name} in {ready}"));
        let port = |text: String| text.parse().expect("an address and port");
        let proxies = address("proxy")
            .split(',')
            .map(|one| one.trim().to_owned())
            .collect();
        let (admin, observe) = (field(&ready, "admin").map(port), port(address("observe")));
        Ok(Keyside {
            builder: self,
            process,
            proxies,
            admin,
            observe,
        })
    }

    /// Runs another command with the same settings to its end.
    pub fn run(&self, arguments: &[&str], stdin: &[u8]) -> Exit {
        self.spawn(arguments, Some(stdin)).exit_within(PATIENCE)
    }

    /// Runs a command with the same settings on a terminal of its own.
    pub fn terminal(&self, arguments: &[&str]) -> Terminal {
        let builder = self.clone().launched_by(&terminal::LAUNCHER);
        Terminal::open(builder.command(arguments))
    }

    /// Writes the settings and starts a process with them.
    pub fn spawn(&self, arguments: &[&str], stdin: Option<&[u8]>) -> Process {
        Process::spawn(&mut self.command(arguments), stdin)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let line = |(name, value): &(String, String)| format!("{name} = {value}\n");
        let settings: String = self.settings.iter().map(line).collect();
        let file = self.home().join("keyside.toml");
        fs::write(&file, settings + &self.tables).expect("a writable folder");
        let binary = env!("CARGO_BIN_EXE_keyside").to_owned();
        let mut words = self.launcher.iter().chain([&binary]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        command.args(arguments).current_dir(self.home()).env_clear();
        command
            .env("KEYSIDE_CONFIG", file)
            // What a killed process leaves, such as a demo's data, is removed with the folder.
            .env("TMPDIR", self.home())
            .envs(self.variables.iter().cloned());
        command
    }
}

/// A field of a JSON log line.
pub fn field(line: &Value, name: &str) -> Option<String> {
    let value = line["fields"].get(name).or_else(|| line.get(name))?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}
