//! Drift of a version, as an alert. That a field has drifted was judged before, with patience of its own; here it is
//! said once for the version, because fields seldom drift alone.

use std::collections::HashSet;

use super::{Example, RuleName, Verdict};

/// What is known of a version that is watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DriftFact {
    pub plugin: String,
    pub version: String,
    pub fields: Vec<DriftField>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DriftField {
    /// As `$.input.amount`.
    pub field: String,
    pub state: DriftState,
    pub psi: Option<f64>,
    pub pvalue: Option<f64>,
    /// Which difference it is, with the numbers and their bounds.
    pub reason: Option<String>,
    /// A call in a bin that grew.
    pub example: Option<Example>,
}

/// As the judge of drift has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftState {
    #[default]
    Insufficient,
    Ok,
    Warn,
    Alert,
}

/// Fields whose numbers a summary has.
const NAMED_MAX: usize = 3;
/// Calls that an alert has as examples.
const EXAMPLES_MAX: usize = 5;

impl DriftFact {
    pub fn has_drifted(&self) -> bool {
        self.fields.iter().any(|field| field.state == DriftState::Alert)
    }
}

/// A warning is a single window, of which one in a hundred looks like that by chance: it makes no alert, and keeps none.
pub(super) fn verdict(fact: &DriftFact) -> Option<Verdict> {
    let mut drifted: Vec<&DriftField> =
        fact.fields.iter().filter(|field| field.state == DriftState::Alert).collect();
    if drifted.is_empty() {
        return None;
    }
    let psi = |field: &DriftField| field.psi.unwrap_or(0.0);
    drifted.sort_by(|a, b| psi(b).total_cmp(&psi(a)));
    let (plugin, version, all) = (&fact.plugin, &fact.version, fact.fields.len());
    let named: Vec<String> = match &drifted[..] {
        [field] => vec![in_full(field)],
        several => several.iter().take(NAMED_MAX).map(|field| numbers(field)).collect(),
    };
    let more = match drifted.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let count = drifted.len();
    let have = if count == 1 { "has" } else { "have" };
    let mut examples: Vec<Example> = drifted.iter().filter_map(|field| field.example.clone()).collect();
    // The worst field's first; one call may show it in several fields.
    let mut seen = HashSet::new();
    examples.retain(|one| seen.insert(one.invocation_id.clone()));
    Some(Verdict {
        rule: RuleName::PluginDrift,
        plugin: Some(plugin.clone()),
        version: Some(version.clone()),
        weak: false,
        value: count as f64,
        threshold: 0.0,
        summary: format!(
            "{count} of {all} fields of {plugin} {version} {have} drifted: {}{more}",
            named.join(", ")
        ),
        help: format!(
            "spanglass drift show {plugin}@{version} has what grew; if it is right as it is now, spanglass drift baseline {plugin} --from-window compares with that"
        ),
        example: examples.first().cloned(),
        examples: examples.into_iter().take(EXAMPLES_MAX).collect(),
        fields: drifted.into_iter().map(|field| field.field.clone()).collect(),
    })
}

fn in_full(field: &DriftField) -> String {
    match &field.reason {
        Some(reason) => format!("{}, {reason}", field.field),
        None => numbers(field),
    }
}

fn numbers(field: &DriftField) -> String {
    let psi = field.psi.map(|psi| format!("PSI {psi:.2}"));
    let pvalue = field.pvalue.map(|pvalue| format!("p {}", short(pvalue)));
    let known: Vec<String> = psi.into_iter().chain(pvalue).collect();
    if known.is_empty() { field.field.clone() } else { format!("{} ({})", field.field, known.join(", ")) }
}

/// `0.004`, `3e-10`.
fn short(pvalue: f64) -> String {
    if pvalue == 0.0 {
        "0".into()
    } else if pvalue >= 0.001 {
        format!("{pvalue:.3}")
    } else {
        format!("{pvalue:.0e}")
    }
}
