//! Made-up conversations, in whatever order.

use proptest::prelude::*;

use super::*;

/// One packet of a made-up conversation.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Client(Vec<u8>),
    Server(Vec<u8>),
}

pub(crate) fn server_says() -> impl Strategy<Value = Said> {
    prop_oneof![
        Just(FULL_AUTH.to_vec()),
        Just(FAST_OK.to_vec()),
        Just(b"\x01-----BEGIN PUBLIC KEY-----".to_vec()),
        Just(b"\x01\x04\0".to_vec()),
        Just(b"\x04".to_vec()),
        Just(b"\xfe".to_vec()),
        Just(b"\xfemysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0".to_vec()),
        Just(b"\xfecaching_sha2_password\0bbbbbbbbbbbbbbbbbbbb\0".to_vec()),
        Just(b"\xfemysql_clear_password\0".to_vec()),
        Just(b"\xfedialog\0\x04Password: ".to_vec()),
        Just(b"\x02sha256_password\0cccccccccccccccccccc\0".to_vec()),
        any::<Vec<u8>>(),
    ]
    .prop_map(Said::Server)
}

/// A client with TLS, which gives its password away wherever its plugin does.
struct Client {
    plugin: Vec<u8>,
    answers: std::collections::VecDeque<Vec<u8>>,
}

impl Client {
    fn sends_proofs(&self) -> bool {
        Mechanism::of(&self.plugin) == Mechanism::Challenge
    }

    fn hear(&mut self, question: &[u8]) {
        if let [0xfe | 0x02, switch @ ..] = question {
            self.plugin = switch
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default()
                .to_vec();
            let proof = self.sends_proofs() || self.plugin == SHA2.as_bytes();
            self.answers.push_back(if proof {
                vec![7; 32]
            } else {
                b"correct horse\0".to_vec()
            });
        } else if !self.sends_proofs() && question != FAST_OK {
            self.answers.push_back(b"correct horse\0".to_vec());
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Whatever a server says, in whatever order, and however late the client answers.
    #[test]
    fn no_password_reaches_a_plain_network_leg(
        plugin in prop_oneof![Just(SHA2), Just("mysql_native_password"), Just("dialog"), Just("sha256_password")],
        blank: bool,
        questions in proptest::collection::vec((server_says(), proptest::bool::weighted(0.7)), 4..16),
    ) {
        let response = if blank { &b""[..] } else { b"correct horse\0" };
        let proof = Mechanism::of(plugin.as_bytes()) != Mechanism::Clear && plugin != "sha256_password";
        let (mut exchange, step) = begin_with(TLS_TO_NETWORK, plugin, if proof { &[7; 32] } else { response });
        prop_assert!(!contains(&step.to_server, b"correct"));
        let mut client = Client { plugin: plugin.into(), answers: [].into() };
        for (question, answers) in questions {
            let Said::Server(question) = question else { continue };
            let seq = exchange.server.peek();
            let Ok(step) = exchange.from_server(packet(seq, &question)) else { break };
            if let Then::Encrypt(_) = step.then {
                let sent = exchange.encrypted(&[0xee; 256]).expect("asked for");
                prop_assert!(!contains(&sent.to_server, b"correct"));
            }
            if !step.to_client.is_empty() {
                client.hear(&question);
            }
            let Some(said) = answers.then(|| client.answers.pop_front()).flatten() else { continue };
            let seq = exchange.client.peek();
            let Ok(step) = exchange.from_client(packet(seq, &said)) else { break };
            prop_assert!(!contains(&step.to_server, b"correct"), "{:?}", exchange);
        }
    }

    #[test]
    fn any_conversation_is_survived(
        said in proptest::collection::vec(
            prop_oneof![server_says(), any::<Vec<u8>>().prop_map(Said::Client)], 0..12),
        client_leg in 0..4_usize, server_leg in 0..4_usize,
    ) {
        const LEGS: [Leg; 4] = [Leg::Loopback, Leg::Network, Leg::Tls, Leg::Unix];
        let (mut exchange, _) = begin_with(legs(LEGS[client_leg], LEGS[server_leg]), SHA2, b"");
        for said in said {
            let (client, server) = (exchange.client.peek(), exchange.server.peek());
            let result = match &said {
                Said::Client(payload) => exchange.from_client(packet(client, payload)),
                Said::Server(payload) => exchange.from_server(packet(server, payload)),
            };
            if let Ok(Step { then: Then::Encrypt(_), .. }) = result {
                let _ = exchange.encrypted(b"sealed").expect("asked for");
            }
        }
    }
}
