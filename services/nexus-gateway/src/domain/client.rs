//! Where a call comes from: the peer's address or, behind proxies that are trusted, the one that they tell.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// The address of a call's client; a request's extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

/// A network, such as `10.0.0.0/8`; a lone address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn contains(&self, other: IpAddr) -> bool {
        let shift = |bits: u32| bits.saturating_sub(self.prefix);
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits())
                    .checked_shr(shift(32))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits())
                    .checked_shr(shift(128))
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            "" if !text.contains('/') => longest,
            digits => digits.parse().map_err(|_| ())?,
        };
        (prefix <= longest).then_some(Self { address, prefix }).ok_or(())
    }
}

/// The proxies whose word about a client is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

impl FromStr for TrustedProxies {
    type Err = String;

    /// Networks between commas; the error is the one that is none.
    fn from_str(text: &str) -> Result<Self, String> {
        let networks = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        networks
            .map(|one| one.parse().map_err(|()| one.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl TrustedProxies {
    /// Whether this peer's forwarding headers are believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }

    /// The client's address: the list of `X-Forwarded-For` is walked from its end, where the nearest proxy wrote,
    /// for as long as who wrote it is trusted. What is no address ends the walk.
    #[must_use]
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        for hop in forwarded_for.flat_map(|value| value.split(',')).rev() {
            if !self.trusts(client) {
                break;
            }
            let Some(address) = address(hop.trim()) else { break };
            client = address;
        }
        client
    }
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let bracketed = hop
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(inner, _)| inner);
    let hop = bracketed.unwrap_or(hop);
    let without_port = hop.rsplit_once(':').map(|(host, _)| host);
    let parsed = hop.parse().ok().or_else(|| without_port?.parse().ok());
    parsed.map(|address: IpAddr| address.to_canonical())
}

/// What one client is to a limit: an IPv4 address, or the 64 bits that one IPv6 site has.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(own) => IpAddr::V6(Ipv6Addr::from_bits(own.to_bits() & !u128::from(u64::MAX))),
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &[&str]) -> String {
        let trusted: TrustedProxies = trusted.parse().unwrap();
        trusted
            .client(peer.parse().unwrap(), forwarded.iter().copied())
            .to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let inside = "10.0.0.0/8, fd00::/8, 192.0.2.7";
        assert_eq!(client("", "10.1.1.1", &["203.0.113.9"]), "10.1.1.1");
        assert_eq!(client(inside, "203.0.113.1", &["203.0.113.9"]), "203.0.113.1");
        assert_eq!(client(inside, "10.1.1.1", &["203.0.113.9"]), "203.0.113.9");
        // What a client wrote itself stands left of what the proxies wrote.
        assert_eq!(
            client(inside, "10.1.1.1", &["1.2.3.4, 203.0.113.9, 10.2.2.2"]),
            "203.0.113.9"
        );
        assert_eq!(
            client(inside, "10.1.1.1", &["1.2.3.4", "203.0.113.9"]),
            "203.0.113.9"
        );
        assert_eq!(
            client(inside, "10.1.1.1", &["10.3.3.3"]),
            "10.3.3.3",
            "all are proxies"
        );
        assert_eq!(client(inside, "10.1.1.1", &["203.0.113.9, rubbish"]), "10.1.1.1");
        assert_eq!(client(inside, "10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(
            client(inside, "192.0.2.7", &["198.51.100.1:4711"]),
            "198.51.100.1"
        );
        assert_eq!(client(inside, "192.0.2.8", &["198.51.100.1"]), "192.0.2.8");
        assert_eq!(client(inside, "fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(
            client(inside, "::ffff:10.1.1.1", &["::ffff:203.0.113.9"]),
            "203.0.113.9"
        );
    }

    #[test]
    fn networks_are_checked() {
        for wrong in [
            "10.0.0.0/33",
            "fd00::/129",
            "x",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(wrong.parse::<TrustedProxies>(), Err(wrong.to_owned()), "{wrong}");
        }
        let all: TrustedProxies = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(all.trusts("203.0.113.9".parse().unwrap()) && all.trusts("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_site_is_an_address_or_sixty_four_bits() {
        assert_eq!(site("192.0.2.1".parse().unwrap()).to_string(), "192.0.2.1");
        assert_eq!(
            site("2001:db8:1:2:3:4:5:6".parse().unwrap()).to_string(),
            "2001:db8:1:2::"
        );
    }
}
