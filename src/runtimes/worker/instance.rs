//! A live worker and the calls it runs, one at a time, in the caller's own task.

use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tempfile::TempDir;

use super::ask::AskFrame;
use super::capture::Capture;
use super::dropped;
use super::frames::{
    self, FailureFrame, Frame, HealthyFrame, LogFrame, MetricFrame, ReplyError, SpanFrame, ToWorker,
    UsageFrame,
};
use super::link::{Broken, Event, Link, OUTPUT_BYTES};
use crate::model::error::{GuestException, InvokeError};
use crate::model::guest::{GuestAnswer, GuestCall, GuestLog};
use crate::model::hook::Hook;
use crate::model::invocation::Usage;
use crate::model::json;
use crate::model::kind::ErrorKind;
use crate::model::text::truncate;
use crate::model::units::format_bytes;
use crate::runtimes::{BoxFuture, CallEnd, CallRequest, Guest, Instance};
use crate::sandbox::Breach;
use crate::sandbox::launcher::{Child, ExitStatus};
use crate::telemetry::ExitReason;

/// How long a worker that closed its pipe may take to die by itself, so that its own exit code is seen.
const DYING_MAX: Duration = Duration::from_millis(200);
/// How long the news of a killed worker's end may take.
const BURIAL_MAX: Duration = Duration::from_secs(1);
/// For so long a look at the worker counts.
const SEEN_MAX: Duration = Duration::from_micros(100);
/// How much of the last line of stderr a message shows.
const LAST_LINE_BYTES_MAX: usize = 300;

pub(super) const CLOSED: &str = "it closed descriptor 4";
pub(super) const GARBAGE: &str = "something that is no frame was written to descriptor 4";

/// Where lines go that a worker prints while no call runs: they belong to no invocation.
pub type StrayLog = Arc<dyn Fn(GuestLog) + Send + Sync>;

pub struct WorkerInstance {
    pub(super) link: Link,
    pub(super) child: Child,
    pub(super) capture: Capture,
    pub(super) scratch: Box<[u8]>,
    stray: StrayLog,
    /// The worker's own working folder; removed with the instance.
    folder: Option<TempDir>,
    /// Set once the worker has ended. `Some(None)`: its supervisor has gone, and the worker with it.
    exit: Option<Option<ExitStatus>>,
    calls: u64,
    /// How often its health was asked for.
    health_checks: u64,
    pub(super) hooks: Vec<Hook>,
    /// A call is running, or did not end in good order: nothing more can be run.
    spent: bool,
    /// The worker has said that this call was its last.
    retired: bool,
    /// When everything printed had been read, and whether the worker was still there.
    seen: Option<(Instant, bool)>,
}

/// What the instance waits for.
pub(super) enum Next {
    Link(Event),
    /// The worker has ended; `WorkerInstance::exit` says how.
    Exited,
    Answer(u64, GuestAnswer),
}

/// Questions to the host that have no answer yet.
type Asks = Vec<(u64, BoxFuture<'static, GuestAnswer>)>;

/// The state of one call.
struct Running {
    id: u64,
    output_bytes_max: u64,
    input_bytes: u64,
    output_bytes: u64,
    chunks: u64,
    logs: u64,
    strays: u64,
    spans: u64,
    metrics: u64,
    asks: Asks,
}

/// What a frame means for the call.
enum Step {
    Continue,
    Chunk(Arc<RawValue>),
    End(Result<CallEnd, InvokeError>),
    /// The worker broke the protocol.
    Broken(String),
}

impl WorkerInstance {
    pub(super) fn new(link: Link, child: Child, stray: StrayLog, folder: Option<TempDir>) -> WorkerInstance {
        WorkerInstance {
            link,
            child,
            capture: Capture::default(),
            scratch: vec![0; OUTPUT_BYTES].into_boxed_slice(),
            stray,
            folder,
            exit: None,
            calls: 0,
            health_checks: 0,
            hooks: Vec::new(),
            spent: false,
            retired: false,
            seen: None,
        }
    }

    async fn run(&mut self, request: CallRequest, guest: &mut dyn Guest) -> Result<CallEnd, InvokeError> {
        let mut call = self.begin(&request);
        loop {
            match self.next(&mut call.asks).await {
                Next::Link(Event::Frame(range)) => match self.step(range, &mut call, guest) {
                    Step::Continue => {}
                    Step::Chunk(part) => guest.chunk(part).await?,
                    Step::End(result) => return result,
                    Step::Broken(why) => return Err(self.crashed(call.spent(), &why, guest).await),
                },
                Next::Link(Event::Output(stream, length)) => {
                    self.capture.feed(stream, &self.scratch[..length], &mut |log| guest.log(log));
                    if self.capture.is_flooded() {
                        self.link.read_slowly(length);
                    } else if self.capture.is_busy() {
                        self.link.read_together(length);
                    }
                }
                Next::Link(Event::Broken(Broken::TooLong(bytes))) => {
                    self.child.kill();
                    self.finish(guest);
                    return Err(output_too_large(bytes, call.output_bytes_max));
                }
                Next::Link(Event::Broken(Broken::Garbage)) => {
                    return Err(self.crashed(call.spent(), GARBAGE, guest).await);
                }
                Next::Link(Event::Broken(Broken::Closed)) => {
                    return Err(self.crashed(call.spent(), CLOSED, guest).await);
                }
                Next::Exited => return self.died(&mut call, guest).await,
                Next::Answer(seq, answer) => self.answer(seq, answer),
            }
        }
    }

    fn begin(&mut self, request: &CallRequest) -> Running {
        self.is_open();
        self.seen = None;
        self.calls += 1;
        let call = ToWorker::Call {
            id: self.calls,
            attempt: request.attempt,
            action: &request.action,
            invocation_id: request.invocation_id.to_string(),
            input: &request.input,
            traceparent: &request.traceparent,
            tracestate: request.tracestate.as_deref(),
            baggage: request.baggage.as_deref(),
            deadline_ms: request.deadline.as_millis().try_into().unwrap_or(u64::MAX),
            output_max: request.output_bytes_max,
        };
        frames::encode(self.link.outbox(), &call);
        self.link.push();
        self.link.frame_bytes_max = request.output_bytes_max.saturating_add(frames::FRAME_HEADROOM_BYTES);
        Running {
            id: self.calls,
            output_bytes_max: request.output_bytes_max,
            input_bytes: request.input.get().len() as u64,
            output_bytes: 0,
            chunks: 0,
            logs: 0,
            strays: 0,
            spans: 0,
            metrics: 0,
            asks: Vec::new(),
        }
    }

    pub(super) async fn next(&mut self, asks: &mut Asks) -> Next {
        std::future::poll_fn(|cx| {
            for (index, (seq, ask)) in asks.iter_mut().enumerate() {
                if let Poll::Ready(answer) = ask.as_mut().poll(cx) {
                    let seq = *seq;
                    drop(asks.swap_remove(index));
                    return Poll::Ready(Next::Answer(seq, answer));
                }
            }
            if let Poll::Ready(event) = self.link.poll_event(cx, &mut self.scratch) {
                return Poll::Ready(Next::Link(event));
            }
            if self.exit.is_none()
                && let Poll::Ready(exit) = std::pin::Pin::new(self.child.exit()).poll(cx)
            {
                self.exit = Some(exit.ok());
                return Poll::Ready(Next::Exited);
            }
            Poll::Pending
        })
        .await
    }

    fn step(&mut self, range: Range<usize>, call: &mut Running, guest: &mut dyn Guest) -> Step {
        let bytes = self.link.frame(range);
        let frame: Frame<'_> = match serde_json::from_slice(bytes) {
            Ok(frame) => frame,
            Err(error) => return Step::Broken(format!("a frame on descriptor 4 is not JSON: {error}")),
        };
        if frame.is_stray() {
            let log = bounded(&mut call.strays, frames::LOGS_MAX, || {
                serde_json::from_slice::<LogFrame>(bytes).ok()
            });
            match log {
                Some(log) => (self.stray)(log.into_log()),
                None => guest.dropped(dropped::FRAMES, 1),
            }
            return Step::Continue;
        }
        if frame.id != Some(call.id) {
            // Of an earlier call, or said outside of calls: nothing of it belongs to this one.
            guest.dropped(dropped::FRAMES, 1);
            return Step::Continue;
        }
        match &*frame.t {
            "end" => {
                let (usage, cut, last) = (frame.usage.unwrap_or_default(), frame.dropped, frame.last);
                let output = match (frame.output, call.chunks) {
                    (Some(output), 0) => call.take_output(output).map(Some),
                    (Some(_), _) => Err(InvokeError::new(
                        ErrorKind::InvalidOutput,
                        "the plugin sent both parts of an output and an output",
                    )),
                    (None, _) => Ok(None),
                };
                if let Some(cut) = cut {
                    count_cut(&cut, guest);
                }
                self.finish(guest);
                self.retire(last);
                let usage = call.usage(usage);
                guest.usage(usage);
                Step::End(output.map(|output| CallEnd { output, usage }))
            }
            "chunk" => match frame.data {
                None => Step::Broken("a chunk has no data".into()),
                Some(data) => match call.take_output(data) {
                    Ok(part) => {
                        call.chunks += 1;
                        Step::Chunk(part)
                    }
                    Err(error) => {
                        // The worker is in the middle of its stream: it cannot be used any more.
                        self.child.kill();
                        self.finish(guest);
                        Step::End(Err(error))
                    }
                },
            },
            "error" => {
                let (usage, cut, last) = (frame.usage.unwrap_or_default(), frame.dropped, frame.last);
                let failure = match serde_json::from_slice::<FailureFrame>(bytes) {
                    Ok(failure) => failure.bounded(),
                    Err(error) => return Step::Broken(format!("an error frame cannot be read: {error}")),
                };
                if let Some(cut) = cut {
                    count_cut(&cut, guest);
                }
                self.finish(guest);
                self.retire(last);
                guest.usage(call.usage(usage));
                Step::End(Err(failed(failure)))
            }
            "log" => {
                let log = bounded(&mut call.logs, frames::LOGS_MAX, || {
                    serde_json::from_slice::<LogFrame>(bytes).ok()
                });
                match log {
                    Some(log) => guest.log(log.into_log()),
                    None => guest.dropped(dropped::LOGS, 1),
                }
                Step::Continue
            }
            "span" => {
                let span = bounded(&mut call.spans, frames::SPANS_MAX, || {
                    serde_json::from_slice::<SpanFrame>(bytes).ok()?.into_span()
                });
                match span {
                    Some((span, events_dropped)) => {
                        guest.span(span);
                        if events_dropped > 0 {
                            guest.dropped(dropped::SPAN_EVENTS, events_dropped);
                        }
                    }
                    None => guest.dropped(dropped::SPANS, 1),
                }
                Step::Continue
            }
            "metric" => {
                let metric = bounded(&mut call.metrics, frames::METRICS_MAX, || {
                    serde_json::from_slice::<MetricFrame>(bytes).ok()
                });
                match metric {
                    Some(metric) => guest.metric(metric.into_metric()),
                    None => guest.dropped(dropped::METRICS, 1),
                }
                Step::Continue
            }
            "ask" => {
                let seq = frame.seq;
                let asked = serde_json::from_slice::<AskFrame>(bytes).map_err(|error| error.to_string());
                self.ask(seq, asked.and_then(AskFrame::into_call), call, guest);
                Step::Continue
            }
            _ => {
                guest.dropped(dropped::FRAMES, 1);
                Step::Continue
            }
        }
    }

    fn ask(&mut self, seq: u64, asked: Result<GuestCall, String>, call: &mut Running, guest: &mut dyn Guest) {
        let refusal = match asked {
            Ok(_) if call.asks.len() >= frames::ASKS_MAX => {
                guest.dropped(dropped::ASKS, 1);
                format!("more than {} questions to the host at once", frames::ASKS_MAX)
            }
            Ok(asked) => return call.asks.push((seq, guest.ask(asked))),
            Err(message) => message,
        };
        let error = ReplyError { kind: "refused", message: &refusal, invocation_id: None };
        frames::encode(self.link.outbox(), &ToWorker::Reply { seq, output: None, error: Some(error) });
        self.link.push();
    }

    fn answer(&mut self, seq: u64, answer: GuestAnswer) {
        let reply = match &answer {
            Ok(output) => ToWorker::Reply { seq, output: Some(output), error: None },
            Err(error) => {
                let invocation_id = error.invocation_id.map(|id| id.to_string());
                let error = ReplyError { kind: error.kind, message: &error.message, invocation_id };
                ToWorker::Reply { seq, output: None, error: Some(error) }
            }
        };
        frames::encode(self.link.outbox(), &reply);
        self.link.push();
    }

    /// Ends a worker that has said that this call was its last: what the call has started must not outlive it.
    fn retire(&mut self, last: bool) {
        if last {
            self.retired = true;
            self.child.kill();
        }
    }

    /// All that was printed before the end lies in the pipes: the worker flushes before it replies.
    fn finish(&mut self, guest: &mut dyn Guest) {
        let look = self.link.look(self.child.end_signal());
        let capture = &mut self.capture;
        if look.output {
            self.link.drain_output(|stream, bytes| capture.feed(stream, bytes, &mut |log| guest.log(log)));
        }
        self.seen = Some((Instant::now(), !look.closed));
        let mut counts = [None; 3];
        let mut free = counts.iter_mut();
        capture.finish(&mut |log| guest.log(log), |what, count| {
            if let Some(slot) = free.next() {
                *slot = Some((what, count));
            }
        });
        for (what, count) in counts.into_iter().flatten() {
            guest.dropped(what, count);
        }
        self.link.settle();
    }

    /// The worker has ended. A reply that it had written before still counts.
    async fn died(&mut self, call: &mut Running, guest: &mut dyn Guest) -> Result<CallEnd, InvokeError> {
        self.link.read_remaining_frames();
        while let Ok(Some(range)) = self.link.take_frame() {
            match self.step(range, call, guest) {
                Step::Continue => {}
                Step::Chunk(part) => guest.chunk(part).await?,
                Step::End(result) => return result,
                Step::Broken(_) => break,
            }
        }
        Err(self.crashed(call.spent(), "", guest).await)
    }

    /// Ends a worker that died or cannot be understood, and says so. `why` is used if it had to be killed.
    async fn crashed(&mut self, mut usage: Usage, why: &str, guest: &mut dyn Guest) -> InvokeError {
        let (exit, why) = self.end(why).await;
        if let Some(exit) = exit {
            usage.cpu = exit.cpu;
            usage.memory_peak_bytes = exit.memory_peak_bytes;
        }
        let breach = self.child.breach();
        if let Some(Breach::Memory { bytes, .. }) = breach {
            // Of all its processes together; the kernel knows the largest.
            usage.memory_peak_bytes = usage.memory_peak_bytes.max(bytes);
        }
        if exit.is_some() || breach.is_some() {
            guest.usage(usage);
        }
        let capture = &mut self.capture;
        self.link.drain_output(|stream, bytes| capture.feed(stream, bytes, &mut |log| guest.log(log)));
        capture.end_lines(&mut |log| guest.log(log));
        let tail: Vec<String> = capture.stderr_tail().map(str::to_owned).collect();
        self.finish(guest);
        crash_error("the worker", Ending { exit, why, breach }, &tail)
    }

    /// Waits for the end of a worker that is of no use any more, for the reason `why`, and kills it if it
    /// does not die by itself. Returns how it ended, and the reason only if it had to be killed.
    pub(super) async fn end<'a>(&mut self, why: &'a str) -> (Option<ExitStatus>, &'a str) {
        // Who closed his pipe is mostly dying, and his own exit code is of interest.
        if why.is_empty() || why == CLOSED {
            let _ = tokio::time::timeout(DYING_MAX, self.wait_exit()).await;
        }
        let why = if self.exit.is_some() { "" } else { why };
        self.child.kill();
        let _ = tokio::time::timeout(BURIAL_MAX, self.wait_exit()).await;
        (self.exit.flatten(), why)
    }

    async fn wait_exit(&mut self) {
        if self.exit.is_none() {
            self.exit = Some(self.child.exit().await.ok());
        }
    }
}

impl Running {
    fn take_output(&mut self, output: &RawValue) -> Result<Arc<RawValue>, InvokeError> {
        self.output_bytes += output.get().len() as u64;
        if self.output_bytes > self.output_bytes_max {
            return Err(output_too_large(self.output_bytes, self.output_bytes_max));
        }
        if let Err(error) = json::check(output.get()) {
            return Err(InvokeError::new(
                ErrorKind::InvalidOutput,
                format!("the output is not usable JSON: {error}"),
            ));
        }
        Ok(Arc::from(output.to_owned()))
    }

    /// What is known without the worker's own word.
    fn spent(&self) -> Usage {
        self.usage(UsageFrame::default())
    }

    fn usage(&self, usage: UsageFrame) -> Usage {
        Usage {
            cpu: Duration::from_micros(usage.cpu_us),
            memory_peak_bytes: usage.rss_peak_kib.saturating_mul(1024),
            input_bytes: self.input_bytes,
            output_bytes: self.output_bytes,
        }
    }
}

/// Counts one record and reads it if it is within the bound.
fn bounded<T>(count: &mut u64, max: u64, read: impl FnOnce() -> Option<T>) -> Option<T> {
    *count += 1;
    if *count > max { None } else { read() }
}

fn count_cut(cut: &frames::DroppedFrame, guest: &mut dyn Guest) {
    let counts = [
        (dropped::LOGS, cut.log),
        (dropped::SPANS, cut.span),
        (dropped::METRICS, cut.metric),
        (dropped::SPAN_EVENTS, cut.event),
    ];
    for (what, count) in counts {
        if count > 0 {
            guest.dropped(what, count);
        }
    }
}

fn output_too_large(bytes: u64, bytes_max: u64) -> InvokeError {
    let message = format!("the output has {bytes} bytes or more; {bytes_max} are allowed");
    InvokeError::new(ErrorKind::OutputTooLarge, message).help("raise limits.max_output or return less")
}

/// What the plugin raised, as an error of the call.
fn failed(failure: FailureFrame) -> InvokeError {
    let kind = match failure.kind.as_str() {
        "invalid_input" => ErrorKind::InvalidInput,
        "invalid_output" => ErrorKind::InvalidOutput,
        "output_too_large" => ErrorKind::OutputTooLarge,
        "unavailable" => ErrorKind::Unavailable,
        _ => ErrorKind::PluginError,
    };
    let message = match kind {
        ErrorKind::PluginError if failure.type_name != "SystemExit" => {
            if failure.message.is_empty() {
                failure.type_name.clone()
            } else {
                format!("{}: {}", failure.type_name, failure.message)
            }
        }
        _ => failure.message,
    };
    let mut error = InvokeError::new(kind, message);
    if kind == ErrorKind::OutputTooLarge {
        error = error.help("raise limits.max_output or return less");
    }
    if let Some(help) = failure.help {
        error = error.help(help);
    }
    error.retry_after = failure.retry_after_ms.map(Duration::from_millis);
    if !failure.traceback.is_empty() {
        let exception = GuestException { type_name: failure.type_name, traceback: failure.traceback };
        error.exception = Some(Box::new(exception));
    }
    error
}

/// What is known of a worker's end.
#[derive(Clone, Copy, Default)]
pub(super) struct Ending<'a> {
    /// `None`: its supervisor has gone, and the worker with it.
    pub exit: Option<ExitStatus>,
    /// Why we had to kill it; empty: it died.
    pub why: &'a str,
    /// Why its supervisor killed it.
    pub breach: Option<Breach>,
}

/// `crashed` or `memory_exceeded`, with how the worker ended and the last lines of its stderr.
pub(super) fn crash_error(who: &str, ending: Ending<'_>, stderr_tail: &[String]) -> InvokeError {
    let Ending { exit, why, breach } = ending;
    let (what, type_name) = match exit {
        _ if breach.is_some() => (breach_text(who, breach), "Killed".to_owned()),
        _ if !why.is_empty() => (format!("{who} had to be killed: {why}"), "Killed".to_owned()),
        Some(ExitStatus { signal: Some(signal), .. }) => {
            (format!("{who} was killed by {}", signal_name(signal)), signal_name(signal))
        }
        Some(ExitStatus { code: Some(code), .. }) => {
            (format!("{who} ended with exit code {code}"), format!("exit code {code}"))
        }
        // The plugin has waited for its own siblings.
        Some(_) => (format!("{who} ended, nobody knows how"), "Unknown".to_owned()),
        None => (format!("{who} ended, and its supervisor with it"), "Killed".to_owned()),
    };
    let last = stderr_tail.iter().rev().find(|line| !line.trim().is_empty());
    let message = match last {
        Some(line) => format!("{what}; last line of stderr: {}", truncate(line.trim(), LAST_LINE_BYTES_MAX)),
        None => what,
    };
    let mut error = InvokeError::new(ErrorKind::Crashed, message);
    if let Some(breach) = breach {
        if let Breach::Memory { .. } = breach {
            error.kind = ErrorKind::MemoryExceeded;
        }
        error = error.help(breach_help(breach));
    } else if why.is_empty() && exit.is_some_and(|exit| exit.signal == Some(SIGKILL)) {
        error = error.help("the kernel kills like this when memory runs out; `dmesg` tells");
    }
    if !stderr_tail.is_empty() {
        let traceback = stderr_tail.join("\n");
        error.exception = Some(Box::new(GuestException { type_name, traceback }));
    }
    error
}

fn breach_text(who: &str, breach: Option<Breach>) -> String {
    match breach {
        Some(Breach::Memory { bytes, bytes_max }) => format!(
            "{who} was killed: it and what it started used {} of memory; limits.memory allows {}",
            // In whole mebibytes, rounded up: it is a sample, and more than was allowed.
            format_bytes(bytes.div_ceil(1 << 20) << 20),
            format_bytes(bytes_max)
        ),
        Some(Breach::Processes { max }) => {
            format!("{who} was killed: it and what it started were more than {max} processes")
        }
        Some(Breach::Stopped) => {
            format!("{who} was killed: it had been stopped (SIGSTOP) and was not set going again")
        }
        None => String::new(),
    }
}

fn breach_help(breach: Breach) -> &'static str {
    match breach {
        Breach::Memory { .. } => "hold less at once, or raise limits.memory of the plugin",
        Breach::Processes { .. } => "start fewer processes, and wait for each that has ended",
        Breach::Stopped => "to look into a worker use `spanglass plugin dev --debug`",
    }
}

const SIGKILL: i32 = 9;

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        SIGKILL => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

impl Instance for WorkerInstance {
    fn call<'a>(
        &'a mut self,
        request: CallRequest,
        guest: &'a mut dyn Guest,
    ) -> BoxFuture<'a, Result<CallEnd, InvokeError>> {
        Box::pin(async move {
            let mut guard = KillUnlessDone { instance: self, done: false };
            guard.instance.spent = true;
            let result = guard.instance.run(request, guest).await;
            guard.done = true;
            // Whoever killed it, or saw it die, has left that to be seen here.
            guard.instance.spent = guard.instance.exit.is_some() || guard.instance.child.killed();
            result
        })
    }

    fn reusable(&mut self) -> bool {
        !self.spent && self.is_open()
    }

    fn retired(&self) -> bool {
        self.retired
    }

    fn exit_reason(&self) -> Option<ExitReason> {
        match self.child.breach() {
            Some(Breach::Memory { .. }) => Some(ExitReason::MemoryExceeded),
            Some(Breach::Processes { .. } | Breach::Stopped) => Some(ExitReason::Killed),
            None => self.retired.then_some(ExitReason::Recycled),
        }
    }

    fn pid(&self) -> Option<u32> {
        Some(self.child.pid())
    }

    fn has(&self, hook: Hook) -> bool {
        self.hooks.contains(&hook)
    }

    fn health(&mut self, within: Duration) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let mut guard = KillUnlessDone { instance: self, done: false };
            guard.instance.spent = true;
            let answer = tokio::time::timeout(within, guard.instance.ask_health()).await;
            let verdict =
                answer.unwrap_or_else(|_| Err(format!("health was not answered within {within:?}")));
            guard.done = verdict.is_ok();
            guard.instance.spent = !guard.done;
            guard.instance.drain_strays();
            guard.instance.seen = None;
            verdict
        })
    }

    fn stop(mut self: Box<Self>, grace: Duration) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let grace_ms = grace.as_millis().try_into().unwrap_or(u64::MAX);
            frames::encode(self.link.outbox(), &ToWorker::Shutdown { grace_ms });
            self.link.push();
            let ended = tokio::time::timeout(grace, self.drain_until_exit()).await;
            self.drain_strays();
            match (ended, self.exit.flatten()) {
                (Err(_), _) => Err(format!("the worker was not over within {grace:?}")),
                (Ok(()), Some(exit)) if exit.code != Some(0) => {
                    let ending =
                        Ending { exit: Some(exit), breach: self.child.breach(), ..Ending::default() };
                    Err(crash_error("the worker", ending, &[]).message)
                }
                (Ok(()), _) => Ok(()),
            }
        })
    }
}

impl WorkerInstance {
    /// Whether the worker is there. What it has printed since somebody looked belongs to no call.
    fn is_open(&mut self) -> bool {
        // Calls that follow each other at once look once for both.
        if let Some((at, open)) = self.seen
            && at.elapsed() < SEEN_MAX
        {
            return open;
        }
        let look = self.link.look(self.child.end_signal());
        if look.output {
            self.drain_strays();
        }
        self.seen = Some((Instant::now(), !look.closed));
        !look.closed
    }

    /// What was printed while no call ran.
    fn drain_strays(&mut self) {
        let (stray, capture) = (&self.stray, &mut self.capture);
        self.link.drain_output(|stream, bytes| capture.feed(stream, bytes, &mut |log| stray(log)));
        capture.finish(&mut |log| stray(log), |_, _| {});
    }

    async fn ask_health(&mut self) -> Result<(), String> {
        self.health_checks += 1;
        frames::encode(self.link.outbox(), &ToWorker::Health { id: self.health_checks });
        self.link.push();
        let mut asks = Vec::new();
        loop {
            match self.next(&mut asks).await {
                Next::Link(Event::Output(stream, length)) => {
                    let stray = &self.stray;
                    self.capture.feed(stream, &self.scratch[..length], &mut |log| stray(log));
                }
                Next::Link(Event::Frame(range)) => {
                    let bytes = self.link.frame(range);
                    let frame: Frame<'_> =
                        serde_json::from_slice(bytes).map_err(|_| "the worker broke the protocol")?;
                    if frame.is_stray()
                        && let Ok(log) = serde_json::from_slice::<LogFrame>(bytes)
                    {
                        (self.stray)(log.into_log());
                    } else if frame.t == "healthy"
                        && let Ok(answer) = serde_json::from_slice::<HealthyFrame>(bytes)
                        && answer.id == self.health_checks
                    {
                        return answer.verdict();
                    }
                }
                Next::Link(Event::Broken(_)) => return Err("the worker broke the protocol".into()),
                Next::Exited => return Err("the worker has ended".into()),
                Next::Answer(..) => {}
            }
        }
    }

    pub(super) async fn drain_until_exit(&mut self) {
        let mut asks = Vec::new();
        loop {
            match self.next(&mut asks).await {
                Next::Link(Event::Output(stream, length)) => {
                    let stray = &self.stray;
                    self.capture.feed(stream, &self.scratch[..length], &mut |log| stray(log));
                }
                Next::Link(Event::Broken(_)) => return self.wait_exit().await,
                Next::Exited => return,
                Next::Link(Event::Frame(range)) => {
                    let bytes = self.link.frame(range);
                    if serde_json::from_slice::<Frame<'_>>(bytes).is_ok_and(|frame| frame.is_stray())
                        && let Ok(log) = serde_json::from_slice::<LogFrame>(bytes)
                    {
                        (self.stray)(log.into_log());
                    }
                }
                Next::Answer(..) => {}
            }
        }
    }
}

impl Drop for WorkerInstance {
    fn drop(&mut self) {
        self.child.kill();
        // Removing files may take long, and the worker may still be writing some.
        if let (Some(folder), Ok(runtime)) = (self.folder.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(folder));
        }
    }
}

/// A call whose future is dropped has nobody to end it in good order.
struct KillUnlessDone<'a> {
    instance: &'a mut WorkerInstance,
    done: bool,
}

impl Drop for KillUnlessDone<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.instance.child.kill();
        }
    }
}
