//! The command line: what can be asked, who answers it, and how a failure is told.
//!
//! A secret is never an argument: arguments stand in the process list and in shell histories.

mod admin;
mod answer;
mod arguments;
mod audit;
mod backup;
mod check;
mod clock;
mod confirm;
mod doctor;
mod download;
mod duration;
mod env;
mod healthcheck;
mod items;
mod key;
mod master_key;
mod offline;
mod pasted;
mod prompt;
mod provider;
mod proxy_address;
mod run;
mod sdk_lines;
mod secret;
mod sensitive;
mod shell;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod vault;
mod version;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use keyside_config::Sources;
use keyside_credentials::process;

use self::{admin::Admin, answer::Answer};
use crate::failure::Failure;

/// The sidecar that holds the keys: requests leave without a key, Keyside attaches it.
#[derive(Parser)]
#[command(
    name = "keyside",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// The settings file [default: $KEYSIDE_CONFIG, else ./keyside.toml if it is there]
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,

    /// Answer in JSON instead of for people
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be asked.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the proxy, the admin API and the observe listener in one process
    Serve,
    /// Run the proxy alone: the sidecar, which attaches the keys that the settings declare and has no store
    Proxy,
    /// Run all of it on throwaway data, with a built-in provider and one key already there; reads no settings
    Demo,
    /// Validate the settings without touching the network, and print each with where it came from
    Check,
    /// Look for what is wrong: settings, permissions, clock, store, master key, Vault, the way to providers
    Doctor(doctor::Doctor),
    /// Ask a running Keyside whether it is ready; for containers and service managers
    Healthcheck(healthcheck::Healthcheck),
    /// Print what points a client at Keyside, such as Claude Code or an SDK: eval "$(keyside env CLIENT -w WORKSPACE)"
    Env(env::Env),
    /// Provider keys: add, list, show, rotate, roll back, verify, edit, revoke
    #[command(subcommand)]
    Key(key::Key),
    /// Providers: list the catalogue, show how a key is made and SDKs are pointed at it
    #[command(subcommand)]
    Provider(provider::Command),
    /// What keys were used for: list and find runs
    #[command(subcommand)]
    Run(run::Run),
    /// Workspaces: add, list, show, export, erase, give a new key
    #[command(subcommand)]
    Workspace(workspace::Workspace),
    /// Make, list, show and revoke tokens: who may use the admin API
    #[command(subcommand)]
    Token(token::Token),
    /// Read, export and check the audit log: who did what
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Make or replace the key that wraps everything
    #[command(subcommand)]
    MasterKey(master_key::MasterKey),
    /// Write everything there is into one sealed file, while Keyside runs
    Backup(backup::Backup),
    /// Restore a backup into a data folder without a store, while no Keyside runs on it
    Restore(backup::Restore),
    /// Say that the clock is right where the audit log is ahead of it
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Vault and OpenBao: print the policy that these settings need
    #[command(subcommand)]
    Vault(vault::Vault),
    /// Print the admin API's description: OpenAPI 3.1, in JSON
    #[command(name = "openapi")]
    OpenApi,
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Reads the arguments, does what they say and returns the exit code: 0 done, 1 failed, 2 usage, 78 configuration.
///
/// Every command first gives up what would let its memory out: most of them hold a token or a secret, and a key that was
/// pasted in the wrong place is in the arguments of the others.
pub(crate) fn run() -> ExitCode {
    if let Err(error) = process::harden() {
        let failure = Failure::failed(error.to_string());
        failure.tell();
        return failure.exit_code();
    }
    let cli = match arguments::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.exit_code()
        }
    }
}

/// `serve` and `demo` bring runtimes of their own, so nothing here runs inside of one before it knows which command it is.
fn dispatch(cli: Cli) -> Result<(), Failure> {
    let sources = Sources::from_process(cli.config);
    let answer = Answer::new(cli.json);
    match cli.command {
        Command::Serve => crate::app::serve(&sources),
        Command::Proxy => crate::app::proxy(&sources),
        Command::Demo => crate::demo::run(&sources),
        Command::Check => check::run(&sources, &answer),
        Command::Doctor(doctor) => wait_for(doctor.run(&sources, &answer)),
        Command::Healthcheck(ask) => wait_for(healthcheck::run(ask, &sources, &answer)),
        Command::Env(env) => wait_for(env::run(env, &sources, &answer)),
        Command::Key(key) => wait_for(key::run(key, &sources, &answer)),
        Command::Provider(provider) => wait_for(provider::run(provider, &sources, &answer)),
        Command::Run(run) => wait_for(run::run(run, &sources, &answer)),
        Command::Workspace(workspace) => wait_for(workspace::run(workspace, &sources, &answer)),
        Command::Token(token) => wait_for(token::run(token, &sources, &answer)),
        Command::Audit(audit) => wait_for(audit::run(audit, &sources, &answer)),
        Command::MasterKey(master_key) => wait_for(master_key::run(&master_key, &sources, &answer)),
        Command::Backup(backup) => wait_for(backup.run(&sources, &answer)),
        Command::Restore(restore) => wait_for(restore.run(&sources, &answer)),
        Command::Clock(clock) => wait_for(clock::run(clock, &sources, &answer)),
        Command::Vault(vault) => wait_for(vault::run(&vault, &sources, &answer)),
        Command::OpenApi => answer.bytes(keyside_admin::openapi().as_bytes()),
        Command::Version => version::run(&answer),
        Command::Completions { shell } => completions(shell, &answer),
    }
}

fn completions(shell: clap_complete::Shell, answer: &Answer) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keyside", &mut script);
    answer.bytes(&script)
}

fn wait_for(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::failed(format!("the system gave no event loop: {error}"))
            .next("Raise the limit on open files and try again.")
    })?;
    runtime.block_on(work)
}

/// Above the options that every command takes, so that they do not stand between its own.
const EVERYWHERE: &str = "Options everywhere";
