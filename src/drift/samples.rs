//! Values themselves, for whoever wants to learn from them: only if the manifest asks, and only so many.

use serde_json::Value;

use crate::model::field::{FieldPath, Side, Step};

/// A fair choice of all calls since the baseline was pinned: each has the same chance to be among them (algorithm R of
/// Vitter, "Random sampling with a reservoir", 1985).
pub struct Samples {
    rows: Vec<Vec<Value>>,
    rows_max: usize,
    offered: u64,
}

impl Samples {
    pub const fn new(rows_max: usize) -> Samples {
        Samples { rows: Vec::new(), rows_max, offered: 0 }
    }

    pub fn offer(&mut self, row: Vec<Value>) {
        self.offered += 1;
        if self.rows.len() < self.rows_max {
            self.rows.push(row);
        } else if let Some(place) = usize::try_from(fastrand::u64(..self.offered)).ok()
            && place < self.rows_max
        {
            self.rows[place] = row;
        }
    }

    pub fn clear(&mut self) {
        self.rows.clear();
        self.offered = 0;
    }

    /// One value for each field.
    pub fn rows(&self) -> &[Vec<Value>] {
        &self.rows
    }
}

/// A row of samples as a call: `{"input": {…}, "output": {…}}`.
pub fn line(paths: &[FieldPath], row: &[Value]) -> Value {
    let mut call = serde_json::json!({"input": {}, "output": {}});
    for (path, value) in paths.iter().zip(row) {
        let side = match path.side() {
            Side::Input => "input",
            Side::Output => "output",
        };
        let mut place = &mut call[side];
        for step in path.steps() {
            place = match step {
                Step::Key(key) => {
                    if !place.is_object() {
                        *place = Value::Object(Default::default());
                    }
                    &mut place[&**key]
                }
                Step::Index(index) => {
                    if !place.is_array() {
                        *place = Value::Array(Vec::new());
                    }
                    let items = place.as_array_mut().expect("it has just become one");
                    items.resize(items.len().max(*index as usize + 1), Value::Null);
                    &mut items[*index as usize]
                }
            };
        }
        *place = value.clone();
    }
    call
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn early_and_late_calls_have_the_same_chance() {
        let mut early = 0;
        for _ in 0..200 {
            let mut samples = Samples::new(10);
            (0..1_000).for_each(|call| samples.offer(vec![call.into()]));
            assert_eq!(samples.rows().len(), 10);
            early += samples.rows().iter().filter(|row| row[0].as_u64().unwrap() < 500).count();
        }
        // 2,000 draws with a chance of one half: 150 are nearly seven standard deviations.
        assert!((850..=1_150).contains(&early), "{early} of 2000 from the first half");
    }

    #[test]
    fn a_row_of_samples_is_put_together_again() {
        let paths: Vec<FieldPath> =
            ["$.input.a.b", "$.input.l[1].c", "$.input['x y']"].map(|path| path.parse().unwrap()).to_vec();
        let row = [json!(1), json!("two"), json!(3)];
        let expected = json!({"input": {"a": {"b": 1}, "l": [null, {"c": "two"}], "x y": 3}, "output": {}});
        assert_eq!(line(&paths, &row), expected);
    }
}
