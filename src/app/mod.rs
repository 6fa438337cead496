//! Assembly, sockets and the command line: one file a command. This room must never decide about a call; it
//! puts the parts together (`runner.rs`) and talks to them as any client does (`target.rs`). Start with
//! [`main`].

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::config::{self, Flags, Settings, Sources};
use crate::package::diagnostic;

mod cli;
mod connect;
mod demo;
mod events;
mod examples;
mod failure;
mod invoke;
mod local;
mod look;
mod output;
mod plugin;
mod run;
mod runner;
mod serve;
mod target;
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
    let (listen, plugin_dirs) = match &command {
        Command::Serve(serve) => (serve.listen.listen.clone(), serve.listen.plugin_dirs.clone()),
        Command::Demo(demo) => (demo.listen.listen.clone(), demo.listen.plugin_dirs.clone()),
        _ => (None, Vec::new()),
    };
    let flags = Flags {
        config: global.config.clone(),
        listen,
        data_dir: global.data_dir.clone(),
        plugin_dirs,
        token_file: global.token_file.clone(),
    };
    let settings = settings(flags, global.json)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("the runtime cannot be started: {error}")))?;
    runtime.block_on(async {
        match &command {
            Command::Demo(demo) => demo::command(&global, demo, settings).await,
            Command::Serve(serve) => serve::command(&global, serve, settings).await,
            Command::Run(run) => run::command(&global, run, &settings).await,
            Command::Invoke(invoke) => invoke::command(&global, invoke, &settings).await,
            Command::Invocation(command) => look::invocation(&global, command, &settings).await,
            Command::Trace(command) => look::trace(&global, command, &settings).await,
            Command::Logs(command) => look::logs(&global, command, &settings).await,
            Command::Plugin(plugin) => plugin::command(&global, plugin, &settings).await,
            _ => Err(Failure::usage("this command is not there yet")),
        }
    })
}

fn settings(flags: Flags, json: bool) -> Result<Settings, Failure> {
    let folder = std::env::current_dir()
        .map_err(|error| Failure::internal(format!("the current folder is not known: {error}")))?;
    let environment = |name: &str| std::env::var_os(name);
    match config::load(&Sources { flags, environment: &environment, folder }) {
        Ok((settings, report)) => {
            if !json && !report.is_empty() {
                let style = Style::stderr();
                output::note(
                    report.render(diagnostic::Style { color: style.color, width: style.width }).trim_end(),
                );
            }
            Ok(settings)
        }
        Err(error) => Err(Failure::config(error)),
    }
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
