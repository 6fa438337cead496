//! The address to serve on.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::package::diagnostic::quote;

use super::report::Problem;
use super::settings::LISTEN_DEFAULT;
use super::{codes, hosts};

/// `HOST:PORT`; port 0 picks a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    text: String,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Address(SocketAddr),
    Name { host: String, port: u16 },
}

impl ListenAddress {
    /// `127.0.0.1:7717`, `[::1]:7717`, `localhost:7717`; `:7717` is 127.0.0.1, never all interfaces: nobody is to
    /// open a server to others by leaving something out.
    pub fn parse(text: &str) -> Result<ListenAddress, Problem> {
        let whole = if text.starts_with(':') && !text.starts_with("::") {
            format!("127.0.0.1{text}")
        } else {
            text.to_owned()
        };
        if let Ok(address) = whole.parse::<SocketAddr>() {
            return Ok(ListenAddress { text: whole, target: Target::Address(address) });
        }
        let parts = whole.rsplit_once(':').and_then(|(host, port)| Some((host, number(port)?)));
        match parts {
            Some((host, port)) if hosts::is_name(host) => {
                let host = host.to_ascii_lowercase();
                Ok(ListenAddress { text: whole, target: Target::Name { host, port } })
            }
            _ => {
                let predicate = format!("is {}, which is not HOST:PORT", quote(text));
                Err(Problem::new(codes::INVALID_ADDRESS, predicate, help(text)))
            }
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn port(&self) -> u16 {
        match &self.target {
            Target::Address(address) => address.port(),
            Target::Name { port, .. } => *port,
        }
    }

    /// Whether only this machine can reach it. Of names, `localhost` alone is known to be so.
    pub fn is_loopback(&self) -> bool {
        match &self.target {
            Target::Address(address) => address.ip().to_canonical().is_loopback(),
            Target::Name { host, .. } => is_localhost(host),
        }
    }

    /// The addresses to try, best first. Asks the system's resolver for names other than `localhost`, which may
    /// block; `localhost` is the loopback whatever a resolver says (RFC 6761).
    ///
    /// # Errors
    /// The resolver's.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.target {
            Target::Address(address) => Ok(vec![*address]),
            Target::Name { host, port } if is_localhost(host) => {
                let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                Ok(addresses.map(|address| SocketAddr::new(address, *port)).to_vec())
            }
            Target::Name { host, port } => Ok((host.as_str(), *port).to_socket_addrs()?.collect()),
        }
    }
}

impl Default for ListenAddress {
    fn default() -> ListenAddress {
        ListenAddress::parse(LISTEN_DEFAULT).expect("the default is an address, as a test shows")
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

fn number(port: &str) -> Option<u16> {
    // `parse` would take `+80` as well.
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    port.parse().ok().filter(|_| digits)
}

fn help(text: &str) -> String {
    if text.parse::<u16>().is_ok() {
        return format!("write the host too: `127.0.0.1:{text}`");
    }
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    if bare != text && ListenAddress::parse(bare).is_ok() {
        return format!("write it without scheme and path: `{bare}`");
    }
    if let Ok(host) = hosts::parse(text) {
        return format!("add a port: `{host}:7717`");
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && hosts::parse(host).is_ok()
    {
        return format!("{} is no port: use 0 to 65535", quote(port));
    }
    if text.starts_with('*') {
        return "`0.0.0.0` means all interfaces: `0.0.0.0:7717`".to_owned();
    }
    "write an address such as `127.0.0.1:7717` or `[::1]:7717`".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_reaches_is_loopback() {
        for text in [
            "127.0.0.1:7717",
            "127.9.9.9:0",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "localhost:80",
            "A.LOCALHOST:1",
            ":0",
        ] {
            assert!(ListenAddress::parse(text).unwrap().is_loopback(), "{text}");
        }
        for text in [
            "0.0.0.0:1",
            "[::]:1",
            "10.0.0.1:1",
            "localhost.evil.example:1",
            "notlocalhost:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert!(!ListenAddress::parse(text).unwrap().is_loopback(), "{text}");
        }
        assert!(ListenAddress::default().is_loopback());
    }

    #[test]
    fn addresses_resolve_without_a_resolver_where_none_is_needed() {
        let resolve = |text: &str| ListenAddress::parse(text).unwrap().resolve().unwrap();
        assert_eq!(resolve("10.1.2.3:80"), ["10.1.2.3:80".parse().unwrap()]);
        assert_eq!(resolve("localhost:7"), ["127.0.0.1:7".parse().unwrap(), "[::1]:7".parse().unwrap()]);
        assert_eq!(resolve(":0"), ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(ListenAddress::parse("localhost:7").unwrap().port(), 7);
    }

    #[test]
    fn mistakes_come_with_the_right_form() {
        let help = |text: &str| ListenAddress::parse(text).unwrap_err().help;
        assert_eq!(help("7717"), "write the host too: `127.0.0.1:7717`");
        assert_eq!(help("http://localhost:80/"), "write it without scheme and path: `localhost:80`");
        assert_eq!(help("localhost"), "add a port: `localhost:7717`");
        assert_eq!(help("::1"), "add a port: `[::1]:7717`");
        assert_eq!(help("localhost:99999"), "`99999` is no port: use 0 to 65535");
        assert_eq!(help("*:80"), "`0.0.0.0` means all interfaces: `0.0.0.0:7717`");
        for text in ["", ":", "a b:1", "localhost:+1", "127.0.0.1:", "256.0.0.1:1", "a:b:1"] {
            assert!(ListenAddress::parse(text).is_err(), "{text}");
        }
    }
}
