//! The command line: commands, their options, and how results and failures are printed.
//!
//! A secret is never an argument, because arguments are visible in the process list and in shell
//! histories.

mod admin;
mod arguments;
mod audit;
mod backup;
mod check;
mod choice;
mod clock;
mod confirm;
mod console;
mod doctor;
mod download;
mod drain;
mod duration;
mod env;
mod healthcheck;
mod items;
mod key;
mod limits;
mod link;
mod master_key;
mod new_file;
mod observe;
mod offline;
mod pasted;
mod preview;
mod prompt;
mod provider;
mod run;
mod sdk_lines;
mod secret;
mod sensitive;
mod smoke;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod vault;
mod version;
mod workspace;

use std::{env::args_os, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use keyside_config::Sources;
use keyside_credentials::process;

use self::{admin::Admin, console::Console};
use crate::{app, failure::Failure, validated_settings::Process};

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

    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,

    /// The command
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the proxy, the admin API and the observe listener in one process
    Serve,
    /// Run the proxy alone: the sidecar, which attaches the keys that the settings declare and has
    /// no store
    Proxy,
    /// Run everything on throwaway data, with a built-in provider and a key; reads no settings
    #[command(after_help = DEMO)]
    Demo,
    /// Validate the settings without network access, and print each with its origin
    Check,
    /// Diagnose problems: settings, permissions, clock, store, master key, Vault, network path to
    /// providers
    Doctor(doctor::Doctor),
    /// Check whether a running Keyside is ready; for containers and service managers
    Healthcheck(healthcheck::Healthcheck),
    /// Take a running Keyside out of service before it is stopped: it reports not ready, keeps
    /// serving, and this command waits until no request is in flight
    Drain(drain::Drain),
    /// Print the variables that point a client at Keyside, such as Claude Code or an SDK: eval
    /// "$(keyside env CLIENT -w WORKSPACE)"
    Env(env::Env),
    /// Print a one-time link that signs you in to the admin page in a browser
    Link(link::Link),
    /// Provider keys: add, list, show, rotate, roll back, refresh, verify, edit, revoke
    #[command(subcommand)]
    Key(key::Key),
    /// Providers: list the catalogue, show how to create a key and configure SDKs
    #[command(subcommand)]
    Provider(provider::Command),
    /// Runs: list, find and sum up the requests that keys were used for
    #[command(subcommand)]
    Run(run::Run),
    /// Send a prompt to a provider as a runner would, and print the response and the key that
    /// answered
    Preview(preview::Preview),
    /// Check all keys with the usage tag of smoke runs, and print each result; exits with 1 if one
    /// fails, and with 3 if there is nothing to check
    Smoke(smoke::Smoke),
    /// Workspaces: add, list, show, edit, export, erase, rotate the key
    #[command(subcommand)]
    Workspace(workspace::Workspace),
    /// Tokens of the admin API: create, list, show, revoke
    #[command(subcommand)]
    Token(token::Token),
    /// Audit log: list, export and verify records of who did what, print the public key
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Master key, which wraps all other keys: generate, rotate
    #[command(subcommand)]
    MasterKey(master_key::MasterKey),
    /// Back up everything into one sealed file, while Keyside runs
    Backup(backup::Backup),
    /// Restore a backup into a data folder without a store, while no Keyside runs on it
    Restore(backup::Restore),
    /// Clock: accept it although the audit log is ahead of it
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Vault and OpenBao: print the policy that these settings require
    #[command(subcommand)]
    Vault(vault::Vault),
    /// Print the OpenAPI 3.1 description of the admin API, in JSON
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

/// Parses the arguments, runs the command and returns the exit code: 0 success, 1 failure, 2 usage,
/// 3 nothing to check, 78 configuration.
///
/// Every command first hardens the process against reading its memory: most commands hold a token
/// or a secret, and a key that was pasted in the wrong place is in the arguments of the others.
pub(crate) fn run() -> ExitCode {
    if let Err(error) = process::harden() {
        return Failure::failed(error).print();
    }
    // Also for libraries that take the process's own. Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match arguments::parse(args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

/// `serve` and `demo` create runtimes of their own, so no runtime is started before the command is
/// known.
fn dispatch(cli: Cli) -> Result<(), Failure> {
    let console = Console::new(Sources::from_process(cli.config), cli.json);
    match cli.command {
        Command::Serve => app::run(&console.sources, Process::Serve),
        Command::Proxy => app::run(&console.sources, Process::Proxy),
        Command::Demo => crate::demo::run(&console.sources),
        Command::Check => check::run(&console),
        Command::Doctor(doctor) => wait_for(doctor.run(&console)),
        Command::Healthcheck(check) => wait_for(healthcheck::run(check, &console)),
        Command::Drain(drain) => wait_for(drain::run(drain, &console)),
        Command::Env(env) => wait_for(env::run(env, &console)),
        Command::Link(link) => wait_for(link.run(&console)),
        Command::Key(key) => wait_for(key::run(key, &console)),
        Command::Provider(provider) => wait_for(provider::run(provider, &console)),
        Command::Run(run) => wait_for(run::run(run, &console)),
        Command::Preview(preview) => wait_for(preview.run(&console)),
        Command::Smoke(smoke) => wait_for(smoke.run(&console)),
        Command::Workspace(workspace) => wait_for(workspace::run(workspace, &console)),
        Command::Token(token) => wait_for(token::run(token, &console)),
        Command::Audit(audit) => wait_for(audit::run(audit, &console)),
        Command::MasterKey(master_key) => wait_for(master_key::run(&master_key, &console)),
        Command::Backup(backup) => wait_for(backup.run(&console)),
        Command::Restore(restore) => wait_for(restore.run(&console)),
        Command::Clock(clock) => wait_for(clock::run(clock, &console)),
        Command::Vault(vault) => wait_for(vault::run(&vault, &console)),
        Command::OpenApi => console.write(keyside_admin::openapi().as_bytes()),
        Command::Version => version::run(&console),
        Command::Completions { shell } => completions(shell, &console),
    }
}

fn completions(shell: clap_complete::Shell, console: &Console) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keyside", &mut script);
    console.write(&script)
}

fn wait_for(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::failed(format!(
            "the system could not create an event loop: {error}"
        ))
        .next("Raise the limit on open files and try again.")
    })?;
    runtime.block_on(work)
}

/// What the help of `keyside demo` says besides its options.
const DEMO: &str = "\
It prints a request to try, a link to the admin page and the file with the owner's token. Ctrl-C ends it and deletes its data.

It listens on 127.0.0.1: the proxy on port 7380, the admin page on 7381, metrics on 7382, or on other ports if these are in use. \
KEYSIDE_PROXY__LISTEN, KEYSIDE_ADMIN__LISTEN and KEYSIDE_OBSERVE__LISTEN choose addresses; it ignores --config and every other \
setting. In another terminal, `keyside key list --admin-url URL --token-file FILE` and the like manage it.";

/// The heading of the options that every command has, so that they do not mix with its own.
const EVERYWHERE: &str = "Global options";
