//! What a version's values looked like when all was well: bins and counts, immutable, known by its content.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bins::{Bins, Kept, Layout};
use super::calibrate::{Dispersion, block_calls, dispersion};
use super::capture::Capture;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Calls that it was made from.
    pub calls: u64,
    pub fields: Vec<FieldBaseline>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldBaseline {
    /// As a manifest spells it.
    pub field: String,
    #[serde(flatten)]
    pub bins: Bins,
    /// Of all its cells. All 0: it has not been seen.
    pub counts: Vec<u32>,
    /// How many times more than independent values they vary from block to block.
    pub dispersion: Dispersion,
}

impl Baseline {
    /// Of a capture that has kept all its values.
    pub fn of(capture: &Capture, fields: impl IntoIterator<Item = String>, calls: u64) -> Baseline {
        let fields = fields.into_iter().enumerate().map(|(at, field)| {
            let bins = capture.bins(at);
            let kept = capture.kept(at).expect("a capture ends before it forgets");
            let counted = |block: &[Kept]| {
                let mut counts = vec![0; bins.cells()];
                block.iter().for_each(|value| counts[usize::from(bins.cell_of_kept(*value))] += 1);
                counts
            };
            let blocks: Vec<Vec<u32>> = kept.chunks(block_calls(kept.len())).map(counted).collect();
            FieldBaseline::new(field, bins, &blocks)
        });
        Baseline { calls, fields: fields.collect() }
    }

    /// `sha256:` of its content.
    pub fn id(&self) -> String {
        let content = serde_json::to_vec(self).expect("numbers, texts and lists are JSON");
        format!("sha256:{:x}", Sha256::digest(content))
    }

    pub fn layout(&self) -> Layout {
        Layout::new(self.fields.iter().map(|field| &field.bins))
    }

    /// What was kept under an id; `None` if it is not that.
    pub fn parse(id: &str, document: &str) -> Option<Baseline> {
        let baseline: Baseline = serde_json::from_str(document).ok()?;
        let is_sound =
            |field: &FieldBaseline| field.bins.is_sound() && field.counts.len() == field.bins.cells();
        (baseline.fields.iter().all(is_sound) && baseline.id() == id).then_some(baseline)
    }
}

impl FieldBaseline {
    /// `blocks`: the counts of consecutive values.
    pub fn new(field: String, bins: Bins, blocks: &[Vec<u32>]) -> FieldBaseline {
        let mut counts = vec![0_u32; bins.cells()];
        for block in blocks {
            counts.iter_mut().zip(block).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
        }
        // It has never been there: nothing is known of it, least of all that it must be absent.
        if counts[bins.null()] == counts.iter().sum::<u32>() {
            counts.fill(0);
        }
        FieldBaseline { field, dispersion: dispersion(blocks), bins, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bins::Datum;
    use super::*;

    fn baseline(shift: f64) -> Baseline {
        let mut capture = Capture::new([None, None], 1_000);
        for at in 0..500 {
            capture.add(0, Datum::Number(f64::from(at * 7 % 500) + shift));
            capture.add(1, Datum::Null);
        }
        Baseline::of(&capture, ["$.input.a".to_owned(), "$.input.b".to_owned()], 500)
    }

    #[test]
    fn it_is_known_by_its_content() {
        let one = baseline(0.0);
        assert_eq!(one.fields[0].counts[..10], [50; 10]);
        assert_eq!(
            one.fields[1].counts.iter().sum::<u32>(),
            0,
            "what has never been there is not expected to stay away"
        );
        let (id, document) = (one.id(), serde_json::to_string(&one).unwrap());
        assert_eq!(Baseline::parse(&id, &document).as_ref(), Some(&one));
        assert_eq!(baseline(0.0).id(), id);
        assert_ne!(baseline(0.5).id(), id);
        assert_eq!(Baseline::parse(&id, &document.replacen("[50,", "[51,", 1)), None, "somebody changed it");
    }
}
