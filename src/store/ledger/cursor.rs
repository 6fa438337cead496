//! Places in a list, as opaque texts. They stay good while rows come and go: a cursor names the last row
//! that was given out, not a number of rows.

use crate::store::error::Error;

/// Where the next page of a list begins, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// A list whose rows have their time as key.
    Time { ns: i64 },
    /// Logs by time, then by arrival.
    Log { ns: i64, seq: i64 },
    /// Logs by arrival.
    Arrival { seq: i64 },
}

impl Cursor {
    pub fn text(self) -> String {
        match self {
            Cursor::Time { ns } => format!("t{ns:x}"),
            Cursor::Log { ns, seq } => format!("l{ns:x}.{seq:x}"),
            Cursor::Arrival { seq } => format!("a{seq:x}"),
        }
    }

    pub fn parse(text: &str) -> Result<Cursor, Error> {
        let number = |hex: &str| i64::from_str_radix(hex, 16).ok().filter(|number| *number >= 0);
        let parse = || {
            let (kind, rest) = text.split_at_checked(1)?;
            Some(match kind {
                "t" => Cursor::Time { ns: number(rest)? },
                "a" => Cursor::Arrival { seq: number(rest)? },
                "l" => {
                    let (ns, seq) = rest.split_once('.')?;
                    Cursor::Log { ns: number(ns)?, seq: number(seq)? }
                }
                _ => return None,
            })
        };
        parse().ok_or(Error::BadCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_out_is_understood_and_nothing_else() {
        for cursor in
            [Cursor::Time { ns: i64::MAX }, Cursor::Log { ns: 0, seq: 77 }, Cursor::Arrival { seq: 1 << 40 }]
        {
            assert_eq!(Cursor::parse(&cursor.text()).unwrap(), cursor);
        }
        for bad in ["", "t", "x1", "t-1", "l1", "l1.", "t1g", "ä1", "t11111111111111111", "' OR 1"] {
            assert!(matches!(Cursor::parse(bad), Err(Error::BadCursor)), "{bad}");
        }
    }
}
