//! The cycle: load, register on trial, take the place of the save before, run again. Whatever goes wrong leaves
//! the version before where it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use semver::Version;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::call::{Choice, Chosen, Input};
use super::say::Say;
use super::stop::Stop;
use super::terminal::Key;
use super::version::Author;
use super::{ended, save};
use crate::app::cli::Reason;
use crate::app::failure::{Failure, exit_code_of};
use crate::app::invoke::{self, CallBody};
use crate::app::output::{self, printable};
use crate::app::plugin::changes::signed;
use crate::app::plugin::registry::{path_of, shell_quoted};
use crate::app::target::Target;
use crate::model::kind::ErrorKind;
use crate::package::Package;
use crate::package::manifest::Example;

const REASON: &str = "plugin dev";
/// Taking versions away at the end may take so long together.
const CLEAN_UP_MAX: Duration = Duration::from_secs(10);

/// One author at work on one plugin.
pub struct Work<'t> {
    target: &'t Target,
    /// As the author wrote it, for messages.
    path: PathBuf,
    name: String,
    author: Author,
    input: Input,
    stop: Stop,
    pub say: Arc<Mutex<Say>>,
    /// Of the next save. One that was refused may have used its number up.
    number: u64,
    serving: Option<Serving>,
    /// What was run last, if anything.
    last: Option<Choice>,
    /// Whether keys are read.
    keys: bool,
}

/// The save that takes the calls.
struct Serving {
    version: String,
    digest: String,
    examples: Vec<Example>,
}

/// Reads the folder.
pub async fn load(path: &Path) -> Result<Package, Failure> {
    let path = path.to_owned();
    off_thread(move || save::load(&path)).await
}

impl<'t> Work<'t> {
    /// `folder` is where `path` leads to.
    pub fn new(
        target: &'t Target,
        (path, folder): (&Path, &Path),
        package: &Package,
        input: Input,
        say: Say,
        stop: Stop,
    ) -> Work<'t> {
        Work {
            target,
            path: path.to_owned(),
            name: package.manifest.name.to_string(),
            author: Author::here(folder),
            input,
            stop,
            say: Arc::new(Mutex::new(say)),
            number: 1,
            serving: None,
            last: None,
            keys: false,
        }
    }

    /// What `tail.rs` needs.
    pub fn tailed(&self) -> (&'t Target, String, Author, Arc<Mutex<Say>>) {
        (self.target, self.name.clone(), self.author.clone(), self.say.clone())
    }

    /// Registers, runs and takes away; the end of the run is the command's.
    pub async fn once(&mut self) -> Result<(), Failure> {
        self.take_leftovers().await?;
        self.take_in().await?;
        let examples = self.serving.as_ref().map_or(&[][..], |serving| &serving.examples);
        self.run(self.input.first(examples)).await
    }

    /// The first save, and a run if the command line has an input.
    pub async fn begin(&mut self, keys: bool) -> Result<(), Failure> {
        self.keys = keys;
        self.take_leftovers().await?;
        if self.input.is_given() {
            self.last = Some(Choice::Given);
        }
        self.reload().await?;
        if keys {
            self.say.lock().await.dim("r runs it · e runs the next example · ? helps · q ends");
        }
        Ok(())
    }

    pub async fn key(&mut self, key: Key) -> Result<(), Failure> {
        let examples = self.serving.as_ref().map_or(&[][..], |serving| &serving.examples);
        let choice = match (key, self.last) {
            (Key::Help, _) => return self.help().await,
            (Key::Again, Some(last)) => last,
            (Key::Again, None) => self.input.first(examples),
            (Key::NextExample, last) => {
                let from = if let Some(Choice::Example(place)) = last { place + 1 } else { 0 };
                let Some(next) = self.input.example(examples, from) else {
                    self.say.lock().await.note("the manifest has no example of it");
                    return Ok(());
                };
                Choice::Example(next)
            }
        };
        self.last = Some(choice);
        self.run_and_tell(choice).await
    }

    /// Takes what lies in the folder, and runs it if something was run before. An error is the end of it all:
    /// what is wrong with the save is told, and the one before stays.
    pub async fn reload(&mut self) -> Result<(), Failure> {
        match self.take_in().await {
            Ok(true) => match self.last {
                Some(last) => self.run_and_tell(last).await,
                None => Ok(()),
            },
            Ok(false) => Ok(()),
            Err(failure) => {
                let kept = self.serving.as_ref().map(|serving| serving.version.as_str());
                self.say.lock().await.refused(&failure, kept)
            }
        }
    }

    /// Whether there is something new.
    async fn take_in(&mut self) -> Result<bool, Failure> {
        let begun = Instant::now();
        let package = load(&self.path).await?;
        if package.manifest.name.as_str() != self.name {
            let message =
                format!("the plugin's name is {} now, and was {}", package.manifest.name, self.name);
            return Err(Failure::of_kind(ErrorKind::Conflict, message).help("begin again: plugin dev"));
        }
        self.say.lock().await.remarks(&package);
        if let Some(serving) = self.serving.as_ref().filter(|serving| serving.digest == package.digest) {
            self.say.lock().await.as_before(&self.name, &serving.version)?;
            return Ok(false);
        }
        let version = self.author.version(&package.manifest.version, self.number)?;
        self.number += 1;
        let (digest, examples) = (package.digest.clone(), package.manifest.examples.clone());
        let renamed = version.clone();
        let zip = off_thread(move || save::zip_as(&package, &renamed)).await?;
        let reason = Reason { reason: Some(REASON.to_owned()) };
        let route = format!("/v1/plugins?trial=true&{}", signed(&reason));
        self.target.send(Method::POST, &route, Some(zip)).await?.json().await?;
        let serving = Serving { version: version.to_string(), digest, examples };
        let before = self.serving.replace(serving);
        let call = self.call_text();
        self.say.lock().await.reloaded(&self.name, &version.to_string(), begun.elapsed(), call.as_deref())?;
        match before {
            Some(before) => self.take_out(&before.version).await,
            None => self.tell_how().await,
        }
        Ok(true)
    }

    /// Runs it; how that ended is told, and only what makes going on impossible is returned.
    async fn run_and_tell(&mut self, choice: Choice) -> Result<(), Failure> {
        match self.run(choice).await {
            Err(failure) if failure.is_broken_pipe() => Err(failure),
            Err(failure) => {
                let style = output::Style::stderr();
                if !self.say.lock().await.json() {
                    failure.report(false, style.into());
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn run(&self, choice: Choice) -> Result<(), Failure> {
        let Some(serving) = &self.serving else {
            self.say.lock().await.note("nothing to run yet");
            return Ok(());
        };
        // Log lines wait: those of this call are in its trace.
        let mut say = self.say.lock().await;
        let version = serving.version.as_str();
        let chosen = self.input.chosen(choice, &serving.examples, (self.target, &self.name, version)).await?;
        say.running(&chosen.describe());
        tokio::select! {
            ended = self.call(chosen, version, &mut say) => ended,
            exit = self.stop.told() => ended(exit),
        }
    }

    async fn call(&self, chosen: Chosen, version: &str, say: &mut Say) -> Result<(), Failure> {
        let about = chosen.to_json();
        let body = CallBody {
            input: chosen.input,
            action: Some(chosen.action),
            version: Some(version.to_owned()),
            timeout: None,
        };
        let request = invoke::Request {
            plugin: self.name.clone(),
            body,
            stream: false,
            watch: true,
            idempotency_key: None,
        };
        let answer = invoke::post(self.target, &request).await?;
        if let Some(trace_id) = answer.trace_id() {
            say.has_shown(trace_id);
        }
        if !say.json() {
            return invoke::print_end(self.target, &request, answer, false).await;
        }
        let (status, bytes) = answer.bytes().await?;
        let body: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::internal(format!("the server answered {status} with something that is not JSON"))
        })?;
        let kind = body["kind"].as_str().and_then(ErrorKind::parse);
        let exit = if status.is_success() { 0 } else { kind.map_or(1, exit_code_of) };
        let mut event = json!({"version": version, "exit": exit, "reply": body});
        if let (Value::Object(event), Value::Object(mut about)) = (&mut event, about) {
            event.append(&mut about);
        }
        say.event("result", event)?;
        ended(exit)
    }

    pub async fn help(&self) -> Result<(), Failure> {
        let say = self.say.lock().await;
        say.note("r, Enter  runs it with the input from before, at first that of the command line or the first example");
        say.note("e         runs the next example of the manifest");
        say.note("q         ends, and takes the version away");
        drop(say);
        self.tell_how().await;
        Ok(())
    }

    async fn tell_how(&self) {
        let say = self.say.lock().await;
        match self.call_text() {
            Some(call) => say.dim(&format!("others call it so: {call}")),
            None => say.dim("it runs in this process, where nobody else can call it; on a server (--server, or `spanglass serve` first) they can"),
        }
    }

    /// The whole command line of a call from elsewhere.
    fn call_text(&self) -> Option<String> {
        let (url, serving) = (self.target.url()?, self.serving.as_ref()?);
        let example = self.input.example(&serving.examples, 0).map(|place| &serving.examples[place]);
        let input: Value = example
            .and_then(|example| serde_json::from_str(example.input.get()).ok())
            .unwrap_or_else(|| json!({}));
        let (name, version) = (printable(&self.name), &serving.version);
        Some(format!("spanglass invoke {name}@{version} --server {url} --input {}", shell_quoted(&input)))
    }

    // === Versions that go ===

    /// What an earlier run of the same author left behind, killed as it was.
    async fn take_leftovers(&mut self) -> Result<(), Failure> {
        for version in self.own_versions().await? {
            self.number = self.number.max(self.author.number_of(&version).unwrap_or_default() + 1);
            self.take_out(&version.to_string()).await;
        }
        Ok(())
    }

    /// Takes all of them away, one whose registration was not waited for too.
    pub async fn clean_up(&mut self) {
        self.serving = None;
        let all = async {
            match self.own_versions().await {
                Ok(versions) => {
                    for version in versions {
                        self.take_out(&version.to_string()).await;
                    }
                }
                Err(failure) => {
                    output::note(&format!("the versions of this run could not be taken away: {failure}"))
                }
            }
        };
        if tokio::time::timeout(CLEAN_UP_MAX, all).await.is_err() {
            output::note(&format!(
                "the versions of this run could not be taken away within {CLEAN_UP_MAX:?}"
            ));
        }
    }

    async fn own_versions(&self) -> Result<Vec<Version>, Failure> {
        let document = match self.target.get(&path_of(&self.name)).await {
            Ok(document) => document,
            Err(failure) if failure.exit == exit_code_of(ErrorKind::NotFound) => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        };
        let versions = document["versions"].as_array().into_iter().flatten();
        let versions = versions.filter_map(|version| Version::parse(version.as_str()?).ok());
        Ok(versions.filter(|version| self.author.number_of(version).is_some()).collect())
    }

    /// A version that does not go is told, and tried again at the end.
    async fn take_out(&self, version: &str) {
        let reason = Reason { reason: Some(REASON.to_owned()) };
        let route = format!("{}?{}", path_of(&format!("{}@{version}", self.name)), signed(&reason));
        let removed = async { self.target.send(Method::DELETE, &route, None).await?.json().await };
        match removed.await {
            Ok(_) => {}
            Err(failure) if failure.exit == exit_code_of(ErrorKind::NotFound) => {}
            Err(failure) => output::note(&format!("{version} could not be taken away: {failure}")),
        }
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Failure::internal("reading the folder panicked")))
}
