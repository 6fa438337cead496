//! Whether a JSON text means the same to everyone who reads it. Texts pass through us as they came; whoever
//! checks one and whoever uses it must not find different things in it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// So many keys of an object are compared one by one; more are sorted.
const KEYS_COMPARED: usize = 8;

/// Refuses what readers understand differently or not at all: an object with the same key twice (some take the
/// first, some the last), numbers that do not fit a double, texts of half characters (`"\ud800"`), nesting
/// beyond serde_json's 128.
pub fn check(text: &str) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Readable { keys: &mut Vec::new() }.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Reads any value and keeps nothing of it.
struct Readable<'k, 'de> {
    /// Those of the objects that are being read, unescaped: one buffer for all.
    keys: &'k mut Vec<Cow<'de, str>>,
}

impl<'de> Readable<'_, 'de> {
    fn inner(&mut self) -> Readable<'_, 'de> {
        Readable { keys: self.keys }
    }
}

impl<'de> DeserializeSeed<'de> for Readable<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readable<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let first = self.keys.len();
        while let Some(key) = entries.next_key_seed(Key)? {
            self.keys.push(key);
            entries.next_value_seed(self.inner())?;
        }
        if let Some(key) = twice(&mut self.keys[first..]) {
            return Err(A::Error::custom(format_args!("the key `{}` stands twice", shown(key))));
        }
        self.keys.truncate(first);
        Ok(())
    }
}

fn twice<'a>(keys: &'a mut [Cow<'_, str>]) -> Option<&'a str> {
    if keys.len() <= KEYS_COMPARED {
        let again = |(index, key): &(usize, &Cow<'_, str>)| keys[..*index].contains(key);
        return keys.iter().enumerate().find(again).map(|(_, key)| &**key);
    }
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| &*pair[0])
}

fn shown(key: &str) -> &str {
    super::text::truncate(key, 80)
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_disagree_about_is_refused() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let many: Vec<String> = (0..1000).map(|n| format!(r#""k{n}":{n}"#)).collect();
        let twice = format!(r#"{{{},"k500":1}}"#, many.join(","));
        let first_of_many = format!(r#"{{{},"k0":1}}"#, many[..17].join(","));
        for (bad, why) in [
            (r#"{"a":"\ud800"}"#, "hex escape"),
            (r#"{"\udc00":1}"#, "surrogate"),
            ("[1e999]", "number out of range"),
            (&"9".repeat(400), "number out of range"),
            ("NaN", "expected value"),
            ("[Infinity]", "expected value"),
            ("\u{feff}{}", "expected value"),
            ("{} {}", "trailing characters"),
            (&deep, "recursion limit"),
            (r#"{"a":1,"a":1}"#, "the key `a` stands twice at line 1 column 13"),
            (r#"{"x":[{"a":1,"b":2,"\u0061":3}]}"#, "the key `a` stands twice"),
            (r#"{"":1,"":2}"#, "the key `` stands twice"),
            (&twice, "the key `k500` stands twice"),
            (&first_of_many, "the key `k0` stands twice"),
        ] {
            let error = check(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{}: {error}", shown(bad));
        }
        let flat = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let different = format!("{{{}}}", many.join(","));
        for good in [
            "null",
            r#" {"a":[1,-2,3.5,"ä\n",true,{}]} "#,
            r#"{"a":{"a":{"a":1}},"A":[{"a":1},{"a":1}]}"#,
            "18446744073709551616",
            "123456789012345678901234567890.5",
            &flat,
            &different,
        ] {
            assert!(check(good).is_ok(), "{}", shown(good));
        }
    }

    #[test]
    fn no_number_of_keys_is_slow() {
        let keys: Vec<String> = (0..100_000).map(|n| format!(r#""k{n}":0"#)).collect();
        let text = format!("{{{}}}", keys.join(","));
        let start = std::time::Instant::now();
        assert!(check(&text).is_ok());
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
