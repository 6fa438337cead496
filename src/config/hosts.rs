//! Names and addresses of machines.

use std::net::{IpAddr, Ipv6Addr};

use crate::package::diagnostic::quote;

use super::codes;
use super::report::Problem;

/// A name or an address without port, as a `Host` header would have it: lower case, IPv6 in brackets.
pub fn parse(text: &str) -> Result<String, Problem> {
    if let Some(address) = address(text) {
        return Ok(match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        });
    }
    let lower = text.to_ascii_lowercase();
    if is_name(&lower) {
        return Ok(lower);
    }
    let predicate = format!("is {}, which is neither a host name nor an address", quote(text));
    Err(Problem::new(codes::INVALID_HOST, predicate, help(text)))
}

/// Letters, digits, `-` and `_` in labels of 1 to 63, 253 in all; what ends in digits is an address gone wrong.
pub fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

fn help(text: &str) -> String {
    if text.contains('*') {
        return "list each name: with a wildcard, pages of strangers could reach the server".to_owned();
    }
    if !text.is_ascii() {
        return "write the name in its ASCII form, `xn--…`".to_owned();
    }
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split(['/', '?', '#']).next().unwrap_or_default();
    let bare = match bare.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => bare,
    };
    let bare = bare.trim().trim_end_matches('.');
    if bare != text && parse(bare).is_ok() {
        return format!("write the name alone: `{bare}`");
    }
    "write a name such as `spanglass.internal` or an address such as `10.0.0.5`".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_kept_as_headers_have_them() {
        for (text, kept) in [
            ("localhost", "localhost"),
            ("Spanglass.Internal", "spanglass.internal"),
            ("my_service", "my_service"),
            ("10.0.0.5", "10.0.0.5"),
            ("::1", "[::1]"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("3com.example", "3com.example"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(kept), "{text}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_a_host_is_refused_with_help() {
        let help = |text: &str| parse(text).unwrap_err().help;
        assert_eq!(help("https://a.example/x"), "write the name alone: `a.example`");
        assert_eq!(help("a.example:7717"), "write the name alone: `a.example`");
        assert_eq!(help("a.example."), "write the name alone: `a.example`");
        assert!(help("*.example").contains("wildcard"));
        assert!(help("bücher.example").contains("xn--"));
        for bad in ["", " ", "-a", "a-", "a..b", "256.1.1.1", "1.2.3", "a b", "[::1", "a@b", &"x".repeat(64)]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("{}a", "x.".repeat(127))).is_err());
    }
}
