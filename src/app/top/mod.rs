//! `top`: what the plugins of a server do, as it happens. `reading.rs` reads the server's documents, `state.rs`
//! decides what a key does, `draw.rs` draws; only this file and `screen.rs` touch server and terminal.

use std::io::IsTerminal;
use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::cli::{Global, Top};
use super::connect::{Need, connect};
use super::failure::{EXIT_UNREACHABLE, Failure};
use super::look;
use super::output::{self, Style};
use super::serve::stop_signal;
use super::target::Target;
use super::tree;
use crate::config::Settings;

mod draw;
mod once;
mod reading;
mod screen;
mod state;

pub use state::Sort;

use draw::Canvas;
use reading::Reading;
use screen::{Done, Screen};
use state::{Failed, State, Wish};

/// Failed calls of a plugin that are listed.
const CALLS: usize = 50;
/// Questions that wait for a slow server.
const QUESTIONS_MAX: usize = 16;
const EXIT_INTERRUPTED: u8 = 130;

pub async fn command(global: &Global, top: &Top, settings: &Settings) -> Result<(), Failure> {
    let target = connect(global, settings, Need::Ledger)?;
    let Target::Remote(_) = &target else {
        target.finish().await;
        return Err(Failure::new(
            EXIT_UNREACHABLE,
            "unreachable",
            "top watches a server, and none is running",
        )
        .help(
            "'spanglass serve' or 'spanglass demo' starts one; --server and --data-dir name another place",
        ));
    };
    let path = |window: &str| format!("/v1/overview?window={window}");
    if global.json {
        let (status, bytes) = target.send(Method::GET, &path(&top.window), None).await?.bytes().await?;
        if !status.is_success() {
            return Err(refused(status.as_u16(), &bytes));
        }
        output::print_bytes(&bytes)?;
        return output::print("\n");
    }
    let first = read(&target, &top.window).await?;
    if top.once || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let style = Style::stdout();
        return output::print(&once::render(&first, top.sort, &style));
    }
    watch(&target, State::new(first, top.sort, &top.window), top.every).await
}

async fn read(target: &Target, window: &str) -> Result<Reading, Failure> {
    let path = format!("/v1/overview?window={window}");
    let (status, bytes) = target.send(Method::GET, &path, None).await?.bytes().await?;
    let overview: Value = match serde_json::from_slice(&bytes) {
        Ok(overview) if status.is_success() => overview,
        _ => return Err(refused(status.as_u16(), &bytes)),
    };
    // What a server does not have, or cannot say now, leaves its lines away.
    let alerts = target.get("/v1/alerts").await.unwrap_or_default();
    let health = target.get("/v1/health").await.unwrap_or_default();
    Ok(Reading::of(&overview, &alerts, &health))
}

/// Why there is no overview.
fn refused(status: u16, bytes: &[u8]) -> Failure {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(problem) if problem["kind"].is_string() && status != 404 => Failure::problem(problem),
        _ => Failure::internal(format!(
            "the server answers {status} to /v1/overview: it cannot tell its rates"
        ))
        .help("is it an older spanglass? its /metrics has the numbers"),
    }
}

// === On a terminal ===

/// What comes from the server.
enum News {
    Numbers(Result<Box<Reading>, Failure>),
    Calls(String, Result<Vec<Failed>, Failure>),
    Trace(Result<Vec<String>, Failure>),
}

async fn watch(target: &Target, mut state: State, every: Duration) -> Result<(), Failure> {
    let style = Style { terminal: true, ..Style::stdout() };
    let server = output::printable(target.url().unwrap_or_default());
    let canvas = Canvas { style, server: &server };
    let cannot = |error: std::io::Error| Failure::internal(format!("the terminal cannot be used: {error}"));
    let mut screen = Screen::take().map_err(cannot)?;
    let mut keys = screen::keys();
    let (asked, questions) = mpsc::channel(QUESTIONS_MAX);
    let (told, mut news) = mpsc::channel(1);
    let mut asking = std::pin::pin!(ask(target, every, state.window().to_owned(), style, questions, told));
    let mut stopped = std::pin::pin!(stop_signal());
    loop {
        screen.terminal.draw(|frame| draw::draw(frame, &state, &canvas)).map_err(cannot)?;
        tokio::select! {
            () = &mut asking => return Ok(()),
            () = &mut stopped => return Err(Failure::silent(EXIT_INTERRUPTED)),
            done = keys.recv() => match done {
                // The terminal is gone.
                None => return Ok(()),
                Some(Done::Resized) => {}
                Some(Done::Pressed(key)) => match state.press(key) {
                    Wish::Quit => return Ok(()),
                    Wish::Interrupt => return Err(Failure::silent(EXIT_INTERRUPTED)),
                    Wish::Nothing => {}
                    wish => {
                        if asked.try_send((state.window().to_owned(), wish)).is_err() {
                            state.trouble = Some("the server is slow to answer; ask again".to_owned());
                        }
                    }
                },
            },
            Some(news) = news.recv() => hear(&mut state, news),
        }
    }
}

fn hear(state: &mut State, news: News) {
    let trouble = match news {
        News::Numbers(Ok(reading)) => return state.took(*reading),
        News::Calls(plugin, Ok(calls)) => return state.took_calls(&plugin, calls),
        News::Trace(Ok(lines)) => return state.took_trace(lines),
        News::Numbers(Err(failure)) => failure,
        News::Calls(plugin, Err(failure)) => {
            state.took_calls(&plugin, Vec::new());
            failure
        }
        News::Trace(Err(failure)) => {
            state.took_trace(Vec::new());
            failure
        }
    };
    state.trouble = Some(output::printable(&trouble.to_string()));
}

/// Asks the server: for the numbers again and again, for the rest when it is wanted. One question at a time, so that a
/// slow server is not asked more often than it can answer.
async fn ask(
    target: &Target,
    every: Duration,
    mut window: String,
    style: Style,
    mut questions: mpsc::Receiver<(String, Wish)>,
    told: mpsc::Sender<News>,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let wish = tokio::select! {
            _ = ticks.tick() => Wish::Numbers,
            asked = questions.recv() => match asked {
                Some((wanted, wish)) => {
                    window = wanted;
                    wish
                }
                None => return,
            },
        };
        let news = match wish {
            Wish::Calls(plugin) => {
                let calls = failed_calls(target, &plugin, &style).await;
                News::Calls(plugin, calls)
            }
            Wish::Trace(id) => News::Trace(trace(target, &id, style).await),
            _ => News::Numbers(read(target, &window).await.map(Box::new)),
        };
        if told.send(news).await.is_err() {
            return;
        }
    }
}

async fn failed_calls(target: &Target, plugin: &str, style: &Style) -> Result<Vec<Failed>, Failure> {
    let limit = CALLS.to_string();
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("plugin", plugin), ("outcome", "failed"), ("limit", &limit)])
        .finish();
    let listed = target.get(&format!("/v1/invocations?{query}")).await?;
    let now = SystemTime::now();
    let items = listed["items"].as_array().into_iter().flatten();
    let failed = |item: &Value| Failed {
        trace_id: item["trace_id"].as_str().unwrap_or_default().to_owned(),
        line: look::summary(item, style, now),
    };
    Ok(items.map(failed).collect())
}

async fn trace(target: &Target, id: &str, style: Style) -> Result<Vec<String>, Failure> {
    let trace = target.get(&format!("/v1/traces/{}", super::invoke::escaped(id))).await?;
    // The screen has its own colours; escape sequences in the text would be shown.
    let text = tree::render_trace(&trace, &Style { color: false, ..style });
    Ok(text.lines().map(str::to_owned).collect())
}
