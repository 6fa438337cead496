//! What is learnt of fields before their bins are pinned: quantiles and the commonest texts, in sketches that take a
//! bounded room and could be merged, and the first values themselves, so that they can be counted exactly afterwards.

use std::fmt::Write;

use datasketches::common::SearchCriteria;
use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::kll::{KllFloat, KllSketch};
use serde::{Deserialize, Serialize};

use super::bins::{Bins, CATEGORIES_MAX, Cells, Datum, Kept, RANGES, VALUES_MAX, category};
use super::statistics::binning::quantile_edges;
use crate::model::field::FieldKind;

/// Rank error of the quantiles: 0.1 %. Up to about so many values they are exact.
const QUANTILES_K: u16 = 2_048;
/// Different texts that are told apart, a power of two.
const TEXTS_MAX: usize = 512;
/// A text is a category if its commonest ones are at least so much of all; else it is known by its length.
const CATEGORIES_SHARE_MIN: f64 = 0.9;

/// All fields of a version, or of a file.
pub struct Capture {
    fields: Vec<FieldCapture>,
    kept_max: usize,
}

struct FieldCapture {
    hint: Option<FieldKind>,
    numbers: Option<Quantiles>,
    lengths: Option<Quantiles>,
    sizes: Option<Quantiles>,
    texts: Option<FrequentItemsSketch<String>>,
    booleans: u64,
    values: u64,
    kept: Vec<Kept>,
}

struct Quantiles {
    sketch: KllSketch<KllFloat<f64>>,
    /// Ascending; one more than may have cells of their own.
    distinct: Vec<f64>,
}

/// How a capture is kept over a restart.
#[derive(Serialize, Deserialize)]
pub struct CaptureDocument {
    fields: Vec<FieldDocument>,
}

#[derive(Serialize, Deserialize)]
struct FieldDocument {
    kept: Vec<Kept>,
    /// The sketch of texts, in hexadecimal digits.
    texts: Option<String>,
}

// === impl Capture ===

impl Capture {
    /// `kept_max`: so many values of each field are kept one by one.
    pub fn new(hints: impl IntoIterator<Item = Option<FieldKind>>, kept_max: usize) -> Capture {
        Capture { fields: hints.into_iter().map(FieldCapture::new).collect(), kept_max }
    }

    pub fn add_field(&mut self, hint: Option<FieldKind>) {
        self.fields.push(FieldCapture::new(hint));
    }

    pub fn add(&mut self, field: usize, datum: Datum<'_>) {
        let text = match datum {
            Datum::Text(text) => Some(category(text)),
            _ => None,
        };
        self.add_kept(field, datum.keep(), text);
    }

    /// `text`: what it is as a category, if it is a text.
    pub fn add_kept(&mut self, field: usize, kept: Kept, text: Option<&str>) {
        let kept_max = self.kept_max;
        let field = &mut self.fields[field];
        field.learn(kept);
        if let Some(text) = text {
            let texts = field.texts.get_or_insert_with(|| {
                FrequentItemsSketch::new(TEXTS_MAX).expect("the bound is a power of two")
            });
            texts.update_ref(text);
        }
        if field.kept.len() < kept_max {
            field.kept.push(kept);
        }
    }

    /// Nulls that came before anybody knew of the field.
    pub fn add_nulls(&mut self, field: usize, count: usize) {
        let kept_max = self.kept_max;
        let field = &mut self.fields[field];
        field.values += count as u64;
        let room = count.min(kept_max.saturating_sub(field.kept.len()));
        field.kept.extend(std::iter::repeat_n(Kept::Null, room));
    }

    /// Freezes the bins of a field.
    pub fn bins(&self, field: usize) -> Bins {
        self.fields[field].bins()
    }

    /// The values in their order; `None` if there were more than are kept.
    pub fn kept(&self, field: usize) -> Option<&[Kept]> {
        let field = &self.fields[field];
        (field.kept.len() as u64 == field.values).then_some(&field.kept)
    }

    pub fn document(&self) -> CaptureDocument {
        let document = |field: &FieldCapture| {
            // What will be known by its length is not written down.
            let names = matches!(field.kind(), FieldKind::Category);
            let plain = |kept: &Kept| match *kept {
                Kept::Text(_, characters) if !names => Kept::Text(0, characters),
                other => other,
            };
            FieldDocument {
                kept: field.kept.iter().map(plain).collect(),
                texts: field.texts.as_ref().filter(|_| names).map(|texts| to_hex(&texts.serialize())),
            }
        };
        CaptureDocument { fields: self.fields.iter().map(document).collect() }
    }

    /// `None`: it is not one of these fields.
    pub fn restore(
        hints: impl IntoIterator<Item = Option<FieldKind>>,
        kept_max: usize,
        document: CaptureDocument,
    ) -> Option<Capture> {
        let mut capture = Capture::new(hints, kept_max);
        if capture.fields.len() != document.fields.len() {
            return None;
        }
        for (field, kept) in capture.fields.iter_mut().zip(document.fields) {
            field.restore(kept, kept_max)?;
        }
        Some(capture)
    }
}

impl FieldCapture {
    fn new(hint: Option<FieldKind>) -> FieldCapture {
        FieldCapture {
            hint,
            numbers: None,
            lengths: None,
            sizes: None,
            texts: None,
            booleans: 0,
            values: 0,
            kept: Vec::new(),
        }
    }

    fn learn(&mut self, kept: Kept) {
        self.values += 1;
        match kept {
            Kept::Number(number) => Quantiles::add(&mut self.numbers, number),
            Kept::Text(_, characters) => Quantiles::add(&mut self.lengths, f64::from(characters)),
            Kept::List(items) => Quantiles::add(&mut self.sizes, f64::from(items)),
            Kept::Boolean(_) => self.booleans += 1,
            Kept::Null | Kept::Object => {}
        }
    }

    fn bins(&self) -> Bins {
        let kind = self.kind();
        let cells = match kind {
            FieldKind::Category => Cells::Categories { names: self.commonest() },
            FieldKind::Boolean => Cells::Categories { names: vec!["false".into(), "true".into()] },
            FieldKind::Number => self.pinned(&self.numbers, |kept| match kept {
                Kept::Number(number) => Some(number),
                _ => None,
            }),
            FieldKind::TextLength => self.pinned(&self.lengths, |kept| match kept {
                Kept::Text(_, characters) => Some(f64::from(characters)),
                _ => None,
            }),
            FieldKind::ListSize => self.pinned(&self.sizes, |kept| match kept {
                Kept::List(items) => Some(f64::from(items)),
                _ => None,
            }),
        };
        Bins { kind, cells }
    }

    /// What its schema says, else what most of its values are.
    fn kind(&self) -> FieldKind {
        if let Some(hint) = self.hint {
            return hint;
        }
        let count = |quantiles: &Option<Quantiles>| quantiles.as_ref().map_or(0, |some| some.sketch.n());
        let texts = if self.is_category() { FieldKind::Category } else { FieldKind::TextLength };
        let candidates = [
            (self.booleans, FieldKind::Boolean),
            (count(&self.sizes), FieldKind::ListSize),
            (count(&self.lengths), texts),
            (count(&self.numbers), FieldKind::Number),
        ];
        candidates.into_iter().max_by_key(|(count, _)| *count).map_or(FieldKind::Number, |(_, kind)| kind)
    }

    fn is_category(&self) -> bool {
        let Some(texts) = &self.texts else { return false };
        let mut rows: Vec<u64> =
            texts.frequent_items(ErrorType::NoFalseNegatives).iter().map(|row| row.lower_bound()).collect();
        rows.sort_unstable_by(|one, other| other.cmp(one));
        let common: u64 = rows.iter().take(CATEGORIES_MAX).sum();
        common as f64 >= CATEGORIES_SHARE_MIN * texts.total_weight() as f64
    }

    fn commonest(&self) -> Vec<String> {
        let Some(texts) = &self.texts else { return Vec::new() };
        let mut rows = texts.frequent_items(ErrorType::NoFalseNegatives);
        rows.sort_by(|one, other| {
            other.estimate().cmp(&one.estimate()).then_with(|| one.item().cmp(other.item()))
        });
        rows.truncate(CATEGORIES_MAX);
        rows.into_iter().map(|row| row.item().clone()).collect()
    }

    fn pinned(&self, quantiles: &Option<Quantiles>, number: impl Fn(Kept) -> Option<f64>) -> Cells {
        let Some(quantiles) = quantiles else { return Cells::Values { values: Vec::new() } };
        if quantiles.distinct.len() <= VALUES_MAX {
            return Cells::Values { values: quantiles.distinct.clone() };
        }
        if self.kept.len() as u64 == self.values {
            let values: Vec<f64> = self.kept.iter().filter_map(|kept| number(*kept)).collect();
            return Cells::Ranges { edges: quantile_edges(&values, RANGES) };
        }
        let ranks: [f64; RANGES - 1] = std::array::from_fn(|at| (at + 1) as f64 / RANGES as f64);
        let found = quantiles.sketch.quantiles(&ranks, SearchCriteria::Inclusive);
        let found = found.expect("the ranks lie between 0 and 1").unwrap_or_default();
        let mut edges: Vec<f64> = found.into_iter().map(KllFloat::into_inner).collect();
        edges.dedup();
        Cells::Ranges { edges }
    }

    fn restore(&mut self, document: FieldDocument, kept_max: usize) -> Option<()> {
        if document.kept.len() > kept_max {
            return None;
        }
        document.kept.iter().for_each(|kept| self.learn(*kept));
        self.texts = match document.texts {
            Some(text) => Some(FrequentItemsSketch::deserialize(&from_hex(&text)?).ok()?),
            None => None,
        };
        self.kept = document.kept;
        Some(())
    }
}

impl Quantiles {
    fn add(quantiles: &mut Option<Quantiles>, number: f64) {
        let Ok(item) = KllFloat::<f64>::new(number) else { return };
        if !number.is_finite() {
            return;
        }
        let quantiles = quantiles.get_or_insert_with(|| Quantiles {
            sketch: KllSketch::new(QUANTILES_K).expect("the size is within the sketch's bounds"),
            distinct: Vec::new(),
        });
        quantiles.sketch.update(item);
        let distinct = &mut quantiles.distinct;
        if distinct.len() <= VALUES_MAX
            && let Err(place) = distinct.binary_search_by(|known| known.total_cmp(&number))
        {
            distinct.insert(place, number);
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured<'a>(hint: Option<FieldKind>, data: impl IntoIterator<Item = Datum<'a>>) -> Capture {
        let mut capture = Capture::new([hint], 10_000);
        data.into_iter().for_each(|datum| capture.add(0, datum));
        capture
    }

    #[test]
    fn numbers_get_deciles_and_few_numbers_a_cell_each() {
        let many = captured(None, (0..1_000).map(|number| Datum::Number(f64::from(number))));
        let Cells::Ranges { edges } = many.bins(0).cells else { panic!("ranges") };
        assert_eq!((edges.len(), edges[0], edges[8]), (9, 99.9, 899.1));
        let few = captured(None, (0..1_000).map(|number| Datum::Number(f64::from(number % 20))));
        assert!(matches!(few.bins(0).cells, Cells::Values { values } if values.len() == 20));
        let constant = captured(None, (0..1_000).map(|_| Datum::Number(4.5)));
        assert_eq!(constant.bins(0).cells, Cells::Values { values: vec![4.5] });
    }

    #[test]
    fn beyond_what_is_kept_the_sketch_answers() {
        let mut capture = Capture::new([None], 100);
        // A walk through all of them in no order.
        (0..100_003_u64).for_each(|step| capture.add(0, Datum::Number((step * 7_919 % 100_003) as f64)));
        assert!(capture.kept(0).is_none());
        let Cells::Ranges { edges } = capture.bins(0).cells else { panic!("ranges") };
        for (decile, edge) in edges.iter().enumerate() {
            let exact = (decile + 1) as f64 * 10_000.3;
            assert!((edge - exact).abs() < 500.0, "{edge} for {exact}");
        }
    }

    #[test]
    fn texts_are_categories_or_lengths() {
        let names = ["web", "app", "pos"];
        let few = captured(None, (0..500).map(|at| Datum::Text(names[(at % 7 % 3) as usize])));
        assert_eq!(
            few.bins(0).cells,
            Cells::Categories { names: ["web", "app", "pos"].map(String::from).to_vec() }
        );
        let ids: Vec<String> = (0..500).map(|at| format!("id-{at}")).collect();
        let many = captured(None, ids.iter().map(|id| Datum::Text(id)));
        assert_eq!(many.bins(0).kind, FieldKind::TextLength);
        // Also if a million come: the room is bounded.
        let asked = captured(Some(FieldKind::Category), ids.iter().map(|id| Datum::Text(id)));
        assert!(asked.bins(0).cells() <= CATEGORIES_MAX + 3);
    }

    #[test]
    fn the_majority_decides_what_a_field_is() {
        let mixed = (0..300).map(|at| if at % 3 == 0 { Datum::Text("x") } else { Datum::Number(1.0) });
        assert_eq!(captured(None, mixed).bins(0).kind, FieldKind::Number);
        let nulls = captured(None, (0..300).map(|_| Datum::Null));
        assert_eq!(nulls.bins(0).cells, Cells::Values { values: Vec::new() });
        let lists = (0..300).map(|at| if at % 2 == 0 { Datum::Null } else { Datum::List(at) });
        assert_eq!(captured(None, lists).bins(0).kind, FieldKind::ListSize);
    }

    #[test]
    fn a_restart_in_the_middle_changes_nothing() {
        let data = || {
            (0..400).map(|at| match at % 4 {
                0 => Datum::Null,
                1 => Datum::Text(["a", "b", "c"][at / 4 % 3]),
                2 => Datum::Number(at as f64 / 3.0),
                _ => Datum::Boolean(true),
            })
        };
        let whole = captured(None, data());
        let half = captured(None, data().take(200));
        let text = serde_json::to_string(&half.document()).unwrap();
        let mut restored = Capture::restore([None], 10_000, serde_json::from_str(&text).unwrap()).unwrap();
        data().skip(200).for_each(|datum| restored.add(0, datum));
        assert_eq!(restored.bins(0), whole.bins(0));
        // Texts that are known by their length have lost what they were.
        let plain = |kept: &Kept| match *kept {
            Kept::Text(_, characters) => Kept::Text(0, characters),
            other => other,
        };
        let kept = |capture: &Capture| capture.kept(0).unwrap().iter().map(plain).collect::<Vec<_>>();
        assert_eq!(kept(&restored), kept(&whole));
        assert!(Capture::restore([None, None], 10_000, whole.document()).is_none(), "other fields");
    }
}
