//! Which calls the demo makes: drawn from a seed, so that two demos with the same one make the same calls.

use serde_json::{Value, json};

use super::release::PLUGIN;
use super::texts::READER;

/// One call to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub plugin: &'static str,
    pub input: Value,
}

#[derive(Clone)]
pub struct Traffic {
    mix: Vec<(&'static str, u32)>,
    random: fastrand::Rng,
    upstream: String,
}

/// Plugins and their shares of the calls, in percent.
const MIX: [(&str, u32); 9] = [
    (PLUGIN, 30),
    (READER, 22),
    ("http-request", 15),
    ("csv-profile", 10),
    ("logger", 8),
    ("flaky", 6),
    ("slow", 4),
    ("crashy", 3),
    ("disk-space", 2),
];

const SENTENCES: [&str; 5] = [
    "A span is one step of a trace.",
    "Every call has one trace, and every trace has one call.",
    "What the plugin prints is a log line of its call!",
    "Is it slow, wrong or hostile? The trace knows.",
    "Queues are bounded, and they count what they drop.",
];

const LONG_SENTENCES: [&str; 4] = [
    "Die Datenschutzgrundverordnung verpflichtet Auftragsverarbeiter zur Dokumentation ihrer Verarbeitungstätigkeiten.",
    "Vertragsänderungen bedürfen der Schriftform; dies gilt auch für die Aufhebung des Schriftformerfordernisses.",
    "Die Haftpflichtversicherungsgesellschaft erstattet Wiederbeschaffungskosten ausschließlich gegen Originalbelege.",
    "Für Rechtsstreitigkeiten aus diesem Vertragsverhältnis ist der Gerichtsstand des Leistungserbringers maßgeblich.",
];

impl Traffic {
    /// `upstream` is the base address of the service that `http-request` calls.
    pub fn new(seed: u64, upstream: String) -> Traffic {
        Traffic { mix: MIX.to_vec(), random: fastrand::Rng::with_seed(seed), upstream }
    }

    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// These get no calls.
    pub fn leave_out(&mut self, absent: impl Fn(&str) -> bool) {
        self.mix.retain(|(plugin, _)| !absent(plugin));
    }

    pub fn next(&mut self) -> Planned {
        let total: u32 = self.mix.iter().map(|(_, share)| share).sum();
        let mut draw = self.random.u32(..total);
        let mut plugin = MIX[0].0;
        for &(name, share) in &self.mix {
            plugin = name;
            if draw < share {
                break;
            }
            draw -= share;
        }
        Planned { plugin, input: self.input_for(plugin) }
    }

    fn input_for(&mut self, plugin: &str) -> Value {
        match plugin {
            PLUGIN => self.payment().input,
            READER => self.text(),
            "http-request" => {
                let path = self.pick(&["/status", "/status", "/orders/7", "/slow", "/unsteady", "/nowhere"]);
                json!({"url": format!("{}{path}", self.upstream)})
            }
            "csv-profile" => self.table(),
            "logger" => json!({
                "level": self.pick(&["debug", "info", "info", "warn", "error"]),
                "message": self.pick(&SENTENCES),
                "fields": {"order": self.random.u32(..10_000)},
            }),
            "disk-space" => json!({}),
            "flaky" => json!({"seed": self.random.u32(..1_000)}),
            "slow" => json!({"seed": self.random.u32(..1_000)}),
            _ => json!({"how": self.pick(&["fine", "fine", "exception", "os-exit", "nan", "politely"])}),
        }
    }

    /// A call of `fraud-score`. A card number is read out on the phone only, elsewhere the payer's payments are
    /// counted: every third time it is the first for an hour, which the release cannot bear (`release.rs`).
    pub fn payment(&mut self) -> Planned {
        let night = self.random.u32(..10) == 0;
        let amount = (self.random.f64() * self.random.f64() * 120_000.0).round() / 100.0;
        let mut input = json!({
            "amount": amount,
            "country": self.pick(&["FR", "DE", "ES", "NL", "IT", "BR"]),
            "channel": self.pick(&["web", "app", "pos", "phone"]),
            "hour": if night { self.random.u32(0..6) } else { self.random.u32(7..23) },
            "account_age_days": self.random.u32(..2_000),
            "card_country": self.pick(&["FR", "DE", "ES", "NL", "IT"]),
        });
        if input["channel"] == "phone" {
            input["card_number"] = format!("4{:015}", self.random.u64(..1_000_000_000_000_000)).into();
        } else {
            let payments = [0, 0, 1, 2, 3, 7];
            input["payments_last_hour"] = payments[self.random.usize(..payments.len())].into();
        }
        Planned { plugin: PLUGIN, input }
    }

    /// What `text-stats` is usually given.
    pub fn text(&mut self) -> Value {
        let count = self.random.usize(1..=4);
        self.sentences(&SENTENCES, count)
    }

    /// What it is given when a new customer has come.
    pub fn long_text(&mut self) -> Value {
        let count = self.random.usize(3..=8);
        self.sentences(&LONG_SENTENCES, count)
    }

    fn sentences(&mut self, among: &[&'static str], count: usize) -> Value {
        let text: Vec<&str> = (0..count).map(|_| self.pick(among)).collect();
        json!({"text": text.join(" ")})
    }

    fn table(&mut self) -> Value {
        let rows = self.random.usize(3..40);
        let mut csv = String::from("country,amount,paid_at\n");
        for row in 0..rows {
            let country = self.pick(&["FR", "DE", "ES", ""]);
            let amount = self.random.u32(1..500);
            csv += &format!("{country},{amount},2026-01-{:02}\n", row % 28 + 1);
        }
        json!({"csv": csv})
    }

    fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.random.usize(..choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_calls_and_every_plugin_gets_some() {
        let calls = |seed| {
            let mut traffic = Traffic::new(seed, "http://127.0.0.1:1".into());
            (0..200).map(|_| traffic.next()).collect::<Vec<_>>()
        };
        assert_eq!(calls(7), calls(7));
        assert_ne!(calls(7), calls(8));
        for (plugin, _) in MIX {
            assert!(calls(7).iter().any(|call| call.plugin == plugin), "{plugin}");
        }
    }

    #[test]
    fn the_release_fails_on_a_quarter_of_the_payments_and_each_of_these_can_be_replayed() {
        for seed in 0..20 {
            let mut traffic = Traffic::new(seed, "http://127.0.0.1:1".into());
            let payments: Vec<_> = (0..1_000).map(|_| traffic.payment().input).collect();
            let failing: Vec<_> =
                payments.iter().filter(|payment| payment["payments_last_hour"] == 0).collect();
            assert!((200..300).contains(&failing.len()), "{} of 1000 with seed {seed}", failing.len());
            // What is sensitive is not kept, and what is not kept cannot be run again.
            assert!(failing.iter().all(|payment| payment.get("card_number").is_none()));
            assert!(payments.iter().any(|payment| payment.get("card_number").is_some()));
        }
    }

    #[test]
    fn what_is_not_there_is_not_called() {
        let mut traffic = Traffic::new(7, "http://127.0.0.1:1".into());
        traffic.leave_out(|plugin| plugin == "logger");
        assert!((0..200).all(|_| traffic.next().plugin != "logger"));
    }
}
