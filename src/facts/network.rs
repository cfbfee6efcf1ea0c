//! Networks of IP addresses, as people write them.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// A network such as `10.0.0.0/8`; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Network {
    /// Its first address.
    address: IpAddr,
    /// How many leading bits its addresses have in common.
    prefix: u8,
}

/// Why a text is no [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the slash is no IP address.
    #[error("`{0}` is not a network: write for instance 10.0.0.0/8, fd00::/8 or 192.0.2.7")]
    Address(String),
    /// What stands behind the slash is no length.
    #[error("`{0}` is not a network: behind the slash stands a number from 0 to {1}")]
    Prefix(String, u8),
    /// The address lies inside of the network and is not its first.
    #[error("`{0}` is not the beginning of a network; did you mean `{1}`?")]
    Inside(String, Network),
}

impl Network {
    /// Returns the networks that the internet does not route: this machine (RFC 1122 §3.2.1.3, RFC
    /// 4291 §2.5.3), private ones (RFC 1918, RFC 4193) and those of a link (RFC 3927, RFC 4291
    /// §2.5.6).
    pub fn nearby() -> Vec<Self> {
        let v4 = [
            ([127, 0, 0, 0], 8),
            ([10, 0, 0, 0], 8),
            ([172, 16, 0, 0], 12),
            ([192, 168, 0, 0], 16),
            ([169, 254, 0, 0], 16),
        ];
        let v6 = [
            ([0, 0, 0, 0, 0, 0, 0, 1], 128),
            ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
            ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        ];
        let v4 = v4.map(|(address, prefix)| (IpAddr::from(address), prefix));
        let v6 = v6.map(|(address, prefix)| (IpAddr::from(address), prefix));
        let all = v4.into_iter().chain(v6);
        all.map(|(address, prefix)| Self { address, prefix })
            .collect()
    }

    /// Returns the IPv4 network that this is, if IPv6's form of it was written.
    fn canonical(self) -> Self {
        let address = self.address.to_canonical();
        match self.prefix.checked_sub(96) {
            Some(prefix) if address.is_ipv4() && self.address.is_ipv6() => Self { address, prefix },
            _ => self,
        }
    }

    /// Returns whether `ip` is one of its addresses; an IPv4 address is one in the form that IPv6 has
    /// for it too.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.address.is_ipv4() && first(ip, self.prefix) == self.address
    }
}

/// Returns the first address of the network of this size around `ip`.
fn first(ip: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match ip {
        // A shift by the whole width would overflow.
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(u32::BITS.saturating_sub(prefix))
                .unwrap_or(0);
            IpAddr::from((ip.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(u128::BITS.saturating_sub(prefix))
                .unwrap_or(0);
            IpAddr::from((ip.to_bits() & mask).to_be_bytes())
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| NetworkError::Address(text.to_owned()))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => length(prefix, longest)
                .ok_or_else(|| NetworkError::Prefix(text.to_owned(), longest))?,
        };
        let meant = Self {
            address: first(address, prefix),
            prefix,
        };
        if meant.address == address {
            Ok(meant.canonical())
        } else {
            Err(NetworkError::Inside(text.to_owned(), meant))
        }
    }
}

fn length(text: &str, longest: u8) -> Option<u8> {
    // The standard parser would take a plus sign too.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&length| digits && length <= longest)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(network: &str, ip: &str) -> bool {
        let network: Network = network.parse().unwrap();
        network.contains(ip.parse().unwrap())
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, ip, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::a00:1", false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.6/31", "192.0.2.7", true),
            ("::1", "::1", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.7", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            assert_eq!(contains(network, ip), expected, "{network} {ip}");
        }
    }

    #[test]
    fn nearby_is_what_the_internet_does_not_route() {
        let nearby = |ip: &str| {
            let ip = ip.parse().unwrap();
            Network::nearby().iter().any(|it| it.contains(ip))
        };
        for ip in ["127.0.0.1", "10.1.1.1", "172.31.0.1", "::1", "fd00::1"] {
            assert!(nearby(ip), "{ip}");
        }
        for ip in ["203.0.113.7", "172.32.0.1", "192.169.0.1", "2001:db8::1"] {
            assert!(!nearby(ip), "{ip}");
        }
        for network in Network::nearby() {
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "is not a network: write"),
            ("db", "is not a network: write"),
            ("[::1]", "is not a network: write"),
            ("10.0.0.0/", "a number from 0 to 32"),
            ("10.0.0.0/+8", "a number from 0 to 32"),
            ("10.0.0.0/33", "a number from 0 to 32"),
            ("::/129", "a number from 0 to 128"),
            ("10.0.0.1/8", "did you mean `10.0.0.0/8`?"),
            ("fd00::1/8", "did you mean `fd00::/8`?"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_network_survives_being_written_and_read(address: IpAddr, prefix in 0_u8..=32) {
            let network = Network { address: first(address, prefix), prefix }.canonical();
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            prop_assert!(network.contains(network.address));
        }

        #[test]
        fn any_text_is_a_network_or_an_error(text in "[0-9a-f.:/]{0,20}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
        }
    }
}
