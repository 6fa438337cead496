//! Assembly, sockets and the command line: one file a command. This room must never decide about a call; it
//! puts the parts together (`runner.rs`) and talks to them as any client does (`target.rs`). Start with
//! [`main`].

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::config::{self, Flags, Settings, Sources};
use crate::package::diagnostic;

mod backup;
mod cli;
mod configuration;
mod connect;
mod connections;
mod demo;
mod doctor;
mod drift;
mod events;
mod examples;
mod expectation;
mod failure;
mod invoke;
mod local;
mod look;
mod output;
mod plugin;
mod reload;
mod purge;
mod replay;
mod run;
mod runner;
mod serve;
mod target;
mod top;
mod tree;
mod trial;

use cli::{Cli, Command};
use failure::Failure;
use output::Style;

/// The whole program, but for the supervisor that it also is.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let json = cli.global.json;
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let style = Style::stderr();
            failure.report(json, diagnostic::Style { color: style.color, width: style.width });
            ExitCode::from(failure.exit)
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    if global.local && flag_is_given("--server") {
        return Err(Failure::usage("--local cannot be used with --server"));
    }
    // Needs no configuration, and must work where there is a bad one.
    if let Command::Completions { shell } = command {
        return completions(shell);
    }
    if let Command::Config(cli::Config::Schema) = command {
        return configuration::schema();
    }
    if let Command::Drift(cli::Drift::Check(check)) = &command {
        return drift::check::command(&global, check);
    }
    let (listen, plugin_dirs) = match &command {
        Command::Serve(serve) => (serve.listen.listen.clone(), serve.listen.plugin_dirs.clone()),
        Command::Demo(demo) => (demo.listen.listen.clone(), demo.listen.plugin_dirs.clone()),
        Command::Config(cli::Config::Validate(listen) | cli::Config::Show(listen)) => {
            (listen.listen.clone(), listen.plugin_dirs.clone())
        }
        _ => (None, Vec::new()),
    };
    let flags = Flags {
        config: global.config.clone(),
        listen,
        data_dir: global.data_dir.clone(),
        plugin_dirs,
        token_file: global.token_file.clone(),
    };
    let loaded = load(flags.clone())?;
    if let Command::Config(config) = &command {
        return configuration::command(config, loaded, global.json);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("the runtime cannot be started: {error}")))?;
    if matches!(command, Command::Doctor) {
        return runtime.block_on(doctor::command(&global, loaded));
    }
    let settings = usable(loaded, global.json)?;
    runtime.block_on(async {
        match &command {
            Command::Demo(demo) => demo::command(&global, demo, settings, flags).await,
            Command::Serve(_) => serve::command(&global, settings, flags).await,
            Command::Run(run) => run::command(&global, run, &settings).await,
            Command::Invoke(invoke) => invoke::command(&global, invoke, &settings).await,
            Command::Replay(arguments) => replay::command(&global, arguments, &settings).await,
            Command::Invocation(command) => look::invocation(&global, command, &settings).await,
            Command::Trace(command) => look::trace(&global, command, &settings).await,
            Command::Logs(command) => look::logs::command(&global, command, &settings).await,
            Command::Top(arguments) => top::command(&global, arguments, &settings).await,
            Command::Plugin(plugin) => plugin::command(&global, plugin, &settings).await,
            Command::Drift(arguments) => drift::command(&global, arguments, &settings).await,
            Command::Backup(arguments) => backup::backup(&global, arguments, &settings).await,
            Command::Purge(arguments) => purge::purge(&global, arguments, &settings).await,
            Command::Restore(arguments) => backup::restore(&global, arguments, &settings).await,
            Command::Config(_) | Command::Doctor | Command::Completions { .. } => {
                unreachable!("they were dispatched above")
            }
        }
    })
}

fn load(flags: Flags) -> Result<doctor::Loaded, Failure> {
    let folder = std::env::current_dir()
        .map_err(|error| Failure::internal(format!("the current folder is not known: {error}")))?;
    let environment = |name: &str| std::env::var_os(name);
    Ok(config::load(&Sources { flags, environment: &environment, folder }))
}

/// The settings, after the remarks that there are on them.
fn usable(loaded: doctor::Loaded, json: bool) -> Result<Settings, Failure> {
    let (settings, report) = loaded.map_err(Failure::config)?;
    if !json && !report.is_empty() {
        output::note(report.render(Style::stderr().into()).trim_end());
    }
    Ok(settings)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    output::print_bytes(&script)
}

/// Whether the flag itself was typed: the same setting from a variable is overruled, not in conflict.
fn flag_is_given(name: &str) -> bool {
    let given = |argument: &str| argument.split('=').next() == Some(name);
    std::env::args_os().any(|argument| argument.to_str().is_some_and(given))
}

/// Wrong usage, `--help` and `--version`: clap has the words and the exit code.
fn refuse(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        Failure::usage(error.to_string().trim_end()).report(true, diagnostic::Style::default());
        return ExitCode::from(failure::EXIT_USAGE);
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::EXIT_USAGE))
}

/// For completion scripts and their tests.
pub fn command() -> clap::Command {
    Cli::command()
}
