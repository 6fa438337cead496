//! Files of calls, a JSON object `{"input": …, "output": …}` on each line: read line by line, within bounds, and every
//! mistake with the number of its line.

use std::io::{self, BufRead, Read};

use serde_json::Value;

use crate::model::field::Side;

/// Lines of one file.
pub const LINES_MAX: u64 = 1_000_000;
/// Longest line, in bytes.
pub const LINE_BYTES_MAX: u64 = 4 << 20;
/// So many mistakes are told; then there is no point in reading on.
pub const MISTAKES_MAX: usize = 20;

/// One call of a file.
#[derive(Debug)]
pub struct Row {
    pub input: Value,
    /// Null also of a call that failed.
    pub output: Value,
}

impl Row {
    pub fn of(&self, side: Side) -> &Value {
        match side {
            Side::Input => &self.input,
            Side::Output => &self.output,
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: u64,
    pub message: String,
}

#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("line {}: {}", .0[0].line, .0[0].message)]
    Mistakes(Vec<Mistake>),
    #[error("it has more than {0} lines")]
    TooMany(u64),
}

/// Reads all of it, if it has no more than `lines_max` lines. Empty lines are none. Returns how many rows there were.
pub fn read(mut reader: impl BufRead, lines_max: u64, mut each: impl FnMut(Row)) -> Result<u64, LinesError> {
    let (mut rows, mut number) = (0, 0);
    let (mut mistakes, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if (&mut reader).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if number > lines_max {
            return Err(LinesError::TooMany(lines_max));
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            let message = format!("it is longer than {} MiB", LINE_BYTES_MAX >> 20);
            mistakes.push(Mistake { line: number, message });
            // Where the next line begins would have to be searched through bytes without bound.
            break;
        }
        let text = line.trim_ascii();
        // The mark that some editors put before everything else.
        let text = if number == 1 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
        if text.is_empty() {
            continue;
        }
        match row(text) {
            Ok(row) => {
                rows += 1;
                each(row);
            }
            Err(message) => {
                mistakes.push(Mistake { line: number, message });
                if mistakes.len() >= MISTAKES_MAX {
                    break;
                }
            }
        }
    }
    if mistakes.is_empty() { Ok(rows) } else { Err(LinesError::Mistakes(mistakes)) }
}

fn row(text: &[u8]) -> Result<Row, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| {
        // Its line is that of the text, which is one: only the column says something.
        let message = error.to_string();
        message.replace(&format!("line {} column", error.line()), "column")
    })?;
    let Value::Object(mut map) = value else {
        return Err("it is not a JSON object with `input` and `output`".into());
    };
    let (input, output) = (map.shift_remove("input"), map.shift_remove("output"));
    if input.is_none() && output.is_none() {
        return Err("it has neither `input` nor `output`".into());
    }
    Ok(Row { input: input.unwrap_or_default(), output: output.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<Row>, LinesError> {
        let mut rows = Vec::new();
        read(text, 200, |row| rows.push(row)).map(|_| rows)
    }

    #[test]
    fn each_line_is_a_call() {
        let found =
            rows(b"\xef\xbb\xbf{\"input\": {\"a\": 1}, \"output\": null, \"more\": 3}\r\n\n{\"output\": 2}")
                .unwrap();
        assert_eq!((found.len(), &found[0].input["a"], &found[1].output), (2, &1.into(), &2.into()));
        assert!(found[0].output.is_null() && found[1].input.is_null());
        assert!(rows(b"").unwrap().is_empty());
        let line = b"{\"input\": 1}\n";
        assert_eq!(rows(&line.repeat(200)).unwrap().len(), 200);
        assert_eq!(rows(&line.repeat(201)).unwrap_err().to_string(), "it has more than 200 lines");
    }

    #[test]
    fn every_mistake_has_its_line() {
        let Err(LinesError::Mistakes(mistakes)) =
            rows(b"{\"input\": 1}\n[1]\n{\"a\": 1}\n{\"input\": NaN}\n{\"input\": 1e999}")
        else {
            panic!("it was taken");
        };
        let told: Vec<String> = mistakes.iter().map(|one| format!("{}: {}", one.line, one.message)).collect();
        assert_eq!(
            told,
            [
                "2: it is not a JSON object with `input` and `output`",
                "3: it has neither `input` nor `output`",
                "4: expected value at column 11",
                "5: number out of range at column 15",
            ]
        );
        let Err(LinesError::Mistakes(mistakes)) = rows(&b"x\n".repeat(100)) else { panic!("it was taken") };
        assert_eq!(mistakes.len(), MISTAKES_MAX);
        let long = vec![b' '; LINE_BYTES_MAX as usize + 1];
        assert!(matches!(rows(&long), Err(LinesError::Mistakes(mistakes)) if mistakes.len() == 1));
    }
}
