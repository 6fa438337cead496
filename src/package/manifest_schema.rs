//! The JSON Schema of manifests, for completion and checks in editors (`spanglass plugin schema` prints it). The
//! reader decides, not the schema: a test holds the two together.

use std::sync::Arc;

use serde_json::Value;

/// The schema as text, for printing.
pub const TEXT: &str = include_str!("manifest.schema.json");

/// The schema, parsed.
pub fn document() -> Arc<Value> {
    Arc::new(serde_json::from_str(TEXT).expect("the schema in this repository is JSON"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::model::limits::{BreakerSettings, Limits, RetrySettings};
    use crate::model::units::{format_bytes, format_duration};
    use crate::package::observe::{self, Observe};
    use crate::package::read::KEYS;

    #[test]
    fn it_has_the_keys_of_the_reader() {
        let document = document();
        let keys: BTreeSet<&str> =
            document["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, KEYS.iter().copied().collect());
    }

    #[test]
    fn it_tells_the_true_bounds() {
        let document = document();
        let properties = &document["properties"]["observe"]["properties"];
        for (key, range) in [
            ("baseline_calls", observe::BASELINE_CALLS),
            ("window", observe::WINDOW),
            ("step", observe::STEP),
            ("long_window", observe::LONG_WINDOW),
            ("min_samples", observe::MIN_SAMPLES),
            ("samples", observe::SAMPLES),
        ] {
            let written = (&properties[key]["minimum"], &properties[key]["maximum"]);
            assert_eq!(written, (&json!(range.start()), &json!(range.end())), "{key}");
        }
    }

    #[test]
    fn it_tells_the_true_defaults() {
        let document = document();
        let default =
            |section: &str, key: &str| document["properties"][section]["properties"][key]["default"].clone();
        let limits = Limits::default();
        assert_eq!(default("limits", "timeout"), format_duration(limits.timeout));
        assert_eq!(default("limits", "memory"), format_bytes(limits.memory_bytes));
        assert_eq!(default("limits", "max_input"), format_bytes(limits.input_bytes_max));
        assert_eq!(default("limits", "max_output"), format_bytes(limits.output_bytes_max));
        assert_eq!(default("limits", "concurrency"), limits.concurrency);
        assert_eq!(default("limits", "queue"), limits.queue);
        assert_eq!(default("limits", "calls_per_instance"), limits.calls_per_instance);
        let retry = RetrySettings::default();
        assert_eq!(default("retry", "max_attempts"), retry.attempts_max);
        assert_eq!(default("retry", "base"), format_duration(retry.base));
        assert_eq!(default("retry", "cap"), format_duration(retry.cap));
        let kinds: Vec<&str> = retry.retry_on.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(default("retry", "retry_on"), json!(kinds));
        let breaker = BreakerSettings::default();
        assert_eq!(default("circuit_breaker", "failure_ratio"), breaker.failure_ratio);
        assert_eq!(default("circuit_breaker", "window"), format_duration(breaker.window));
        assert_eq!(default("circuit_breaker", "min_calls"), breaker.calls_min);
        assert_eq!(default("circuit_breaker", "open_for"), format_duration(breaker.open_for));
        let observe = Observe::default();
        assert_eq!(default("observe", "baseline"), observe.baseline.as_str());
        assert_eq!(default("observe", "baseline_calls"), observe.baseline_calls);
        assert_eq!(default("observe", "window"), observe.window);
        assert_eq!(default("observe", "step"), observe.step);
        assert_eq!(default("observe", "long_window"), observe.long_window);
        assert_eq!(default("observe", "min_samples"), observe.min_samples);
        assert_eq!(default("observe", "alpha"), observe.alpha);
        assert_eq!(default("observe", "min_effect"), observe.min_effect);
        assert_eq!(default("observe", "samples"), observe.samples);
    }
}
