//! Texts that change: what `text-stats` is given is short English, until for some minutes it is long German. Nothing
//! fails by that; only who watches the data notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::steady::every;
use super::traffic::Traffic;
use super::words::Words;
use super::{Planned, call};
use crate::drift::judge::State;
use crate::host::Host;

/// The plugin that gets them.
pub const READER: &str = "text-stats";
/// One text, as long as somebody is likely to watch.
pub const TEXTS: Duration = Duration::from_millis(500);
/// Long enough for a window of what is usual.
const CHANGE_AFTER: Duration = Duration::from_secs(40);
const CHANGE_LASTS: Duration = Duration::from_secs(180);
const WATCHED: Duration = Duration::from_secs(15 * 60);
const TEXTS_LATER: Duration = Duration::from_secs(5);

/// Goes on until it is dropped.
pub async fn run(host: &Arc<Host>, mut traffic: Traffic, words: &Words, said: &dyn Fn(String)) {
    let begun = Instant::now();
    let mut ticks = every(TEXTS);
    let mut seen = State::Ok;
    loop {
        ticks.tick().await;
        let since = begun.elapsed();
        let changed = (CHANGE_AFTER..CHANGE_AFTER + CHANGE_LASTS).contains(&since);
        let input = if changed { traffic.long_text() } else { traffic.text() };
        call(host.clone(), Planned { plugin: READER, input }).await;
        let state = state(host);
        match (seen, state) {
            (State::Alert, State::Ok) => said(words.no_drift()),
            (State::Ok, State::Alert) => said(words.drifts()),
            _ => {}
        }
        // What lies between the two is no news.
        if matches!(state, State::Ok | State::Alert) {
            seen = state;
        }
        if since > WATCHED && ticks.period() != TEXTS_LATER {
            ticks = every(TEXTS_LATER);
        }
    }
}

fn state(host: &Host) -> State {
    let watched = host.drift_overview().into_iter().find(|line| line.plugin == READER && line.takes_calls);
    watched.map_or(State::Insufficient, |line| line.state)
}
