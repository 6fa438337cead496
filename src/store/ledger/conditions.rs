//! Builds the `WHERE` of a query from optional parts. Values are always bound, never written into the text.

use rusqlite::types::Value;

#[derive(Default)]
pub(super) struct Conditions {
    parts: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    /// `part` has as many `?` as there are values.
    pub fn add<const N: usize>(&mut self, part: &'static str, values: [Value; N]) {
        self.parts.push(part);
        self.values.extend(values);
    }

    pub fn add_if<T: Into<Value>>(&mut self, part: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.add(part, [value.into()]);
        }
    }

    /// `1 AND …`, so that it may be empty.
    pub fn sql(&self) -> String {
        let mut sql = String::from("1");
        for part in &self.parts {
            sql.push_str(" AND ");
            sql.push_str(part);
        }
        sql
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }
}

/// A pattern for `LIKE … ESCAPE '\'` that finds `text` anywhere.
pub(super) fn containing(text: &str) -> Value {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    Value::Text(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_taken_literally() {
        assert_eq!(containing(r"50%_a\b"), Value::Text(r"%50\%\_a\\b%".into()));
    }
}
