//! The checks of one listener.

use std::{
    collections::HashSet,
    ops::{Range, RangeInclusive},
    time::Duration,
};

use toml::Spanned;

use super::{
    Check, SHORTEST,
    pair::{Pair, PairKeys},
    word,
};
use crate::{
    config::{
        Address, BackendTls, BackendTlsMode, Backends, ChannelBinding, LISTENERS_MAX, Limits,
        Listener, Network, PER_CLIENT_MAX, PairForm, ProxyProtocol, TlsPolicy,
        file::{self, Parsed, Several, Table, Word},
        nearest::nearest,
        value::{Text, Time},
    },
    protocol::Protocol,
};

/// The shortest silence that tells of a dead peer: TCP sends again what was lost at least twice in it.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);

impl Check<'_> {
    /// Returns the listeners that could be made out; the rest is among the problems.
    pub(super) fn listeners(
        &mut self,
        written: Vec<Spanned<Table<file::Listener>>>,
        identities: &[&str],
    ) -> Vec<Listener> {
        if written.is_empty() {
            let message = "there is no listener; add a [[listener]] with `bind` and `backend`";
            self.absent(None, message);
        }
        if let Some(beyond) = written.get(LISTENERS_MAX) {
            let message = format!("there can be {LISTENERS_MAX} listeners at most");
            self.wrong(beyond.span(), message);
        }
        let mut names = HashSet::new();
        let numbered = (1..).zip(written);
        numbered
            .filter_map(|(number, listener)| {
                let header = listener.span();
                let listener = listener.into_inner().0;
                let name = self.name(
                    "listener",
                    number,
                    listener.name.as_ref(),
                    &header,
                    &mut names,
                );
                self.listener(name, listener, &header, identities)
            })
            .collect()
    }

    fn listener(
        &mut self,
        name: String,
        written: file::Listener,
        header: &Range<usize>,
        identities: &[&str],
    ) -> Option<Listener> {
        let bind = self.bind(&name, written.bind, header);
        let freebind = self.freebind(written.freebind, bind.as_ref());
        let backends = self.backends(&name, written.backend, header);
        let backend_tls = written.backend_tls;
        let backend_tls = backend_tls.map(|tls| self.backend_tls(&tls, backends.as_ref()));
        let client_auth = written
            .client_auth
            .map(|auth| self.client_auth(&auth, &written.tls));
        let identities = self.chosen(written.identities, identities);
        let limits = self.limits(&written.limits);
        let protocol = word(written.protocol).unwrap_or(Protocol::Tcp);
        let channel_binding = self.channel_binding(written.channel_binding, protocol);
        let clear = written.allow_cleartext_password;
        let allow_cleartext_password = self.clear_passwords(clear, protocol);
        let tls = TlsPolicy::default();
        Some(Listener {
            name,
            bind: bind?,
            freebind,
            protocol,
            backends: backends?,
            identities,
            server_names: written
                .server_names
                .into_iter()
                .map(|name| name.0.0)
                .collect(),
            tls: TlsPolicy {
                mode: written
                    .tls
                    .mode
                    .as_ref()
                    .map_or(tls.mode, |mode| mode.get_ref().0),
                min_version: word(written.tls.min_version).unwrap_or(tls.min_version),
                unknown_name: word(written.tls.unknown_name).unwrap_or(tls.unknown_name),
                resumption: word(written.tls.resumption).unwrap_or(tls.resumption),
            },
            client_auth: client_auth.unwrap_or_default(),
            backend_tls: backend_tls.unwrap_or_default(),
            channel_binding,
            allow_cleartext_password,
            proxy_protocol: self.proxy_protocol(written.proxy_protocol.0),
            limits,
        })
    }

    /// Returns what clients do about channel binding, which few protocols have.
    fn channel_binding(
        &mut self,
        written: Option<Spanned<Word<ChannelBinding>>>,
        protocol: Protocol,
    ) -> ChannelBinding {
        let Some(written) = written else {
            return ChannelBinding::default();
        };
        if !protocol.traits().channel_binding {
            let names = Protocol::names_with(|it| it.channel_binding);
            let message = format!("`channel_binding` needs `protocol = {names}`: no other has it");
            self.wrong(written.span(), message);
        }
        written.into_inner().0
    }

    /// Returns whether passwords may go in the clear, which only means something where logins are
    /// looked at.
    fn clear_passwords(&mut self, written: Option<Spanned<bool>>, protocol: Protocol) -> bool {
        let Some(written) = written else {
            return false;
        };
        if !protocol.traits().reads_logins {
            let names = Protocol::names_with(|it| it.reads_logins);
            let message = format!(
                "`allow_cleartext_password` needs `protocol = {names}`: with \"{protocol}\", logins are not \
                 looked at"
            );
            self.wrong(written.span(), message);
        }
        written.into_inner()
    }

    fn bind(
        &mut self,
        name: &str,
        written: Option<Spanned<Parsed<Address>>>,
        header: &Range<usize>,
    ) -> Option<Address> {
        let Some(written) = written else {
            let message = format!("listener `{name}` has no `bind`");
            self.absent(Some(header.clone()), message);
            return None;
        };
        let span = written.span();
        let bind = written.into_inner().0;
        self.take(&bind, Some(span), format!("listener `{name}`"));
        Some(bind)
    }

    /// Returns whether it listens at an address that is not there yet, which a Unix socket's always is.
    fn freebind(&mut self, written: Option<Spanned<bool>>, bind: Option<&Address>) -> bool {
        let Some(written) = written else {
            return false;
        };
        if *written.get_ref() && matches!(bind, Some(Address::Unix(_))) {
            let message = "`freebind` has no use here: `bind` is a Unix socket, not an IP address";
            self.wrong(written.span(), message);
        }
        written.into_inner()
    }

    fn backends(
        &mut self,
        name: &str,
        written: Option<Spanned<Several<Parsed<Address>>>>,
        header: &Range<usize>,
    ) -> Option<Backends> {
        let Some(written) = written else {
            let message = format!("listener `{name}` has no `backend`");
            self.absent(Some(header.clone()), message);
            return None;
        };
        let span = written.span();
        let mut seen = HashSet::new();
        for Parsed(backend) in &written.get_ref().0 {
            if backend.port() == Some(0) {
                self.wrong(span.clone(), "a backend cannot have port 0");
            }
            if !seen.insert(backend.canonical()) {
                self.wrong(span.clone(), format!("`{backend}` is named twice"));
            }
        }
        let backends = Backends::new(written.into_inner().0.into_iter().map(|it| it.0));
        if backends.is_none() {
            self.wrong(span, "no backend is named");
        }
        backends
    }

    /// Returns the identities a listener names, or all of them.
    fn chosen(
        &mut self,
        written: Option<Spanned<Vec<Spanned<String>>>>,
        known: &[&str],
    ) -> Vec<String> {
        let Some(written) = written else {
            return known.iter().map(|&name| name.to_owned()).collect();
        };
        if written.get_ref().is_empty() {
            self.wrong(
                written.span(),
                "no identity is named; leave the key out to use all",
            );
        }
        let mut chosen: Vec<String> = Vec::new();
        for name in written.into_inner() {
            let span = name.span();
            let name = name.into_inner();
            if chosen.contains(&name) {
                self.wrong(span, format!("identity `{name}` is named twice"));
            } else if !known.contains(&name.as_str()) {
                self.absent(Some(span), unknown_identity(&name, known));
            }
            chosen.push(name);
        }
        chosen
    }

    fn backend_tls(
        &mut self,
        written: &Spanned<Table<file::BackendTls>>,
        backends: Option<&Backends>,
    ) -> BackendTls {
        let tls = written.get_ref();
        let mut addresses = backends.into_iter().flat_map(Backends::iter);
        let mode = word(tls.mode).unwrap_or(BackendTls::default().mode);
        match mode {
            BackendTlsMode::Off => self.unused_without_tls(tls),
            BackendTlsMode::Require => self.unchecked_ca(tls.ca.as_ref()),
            BackendTlsMode::VerifyFull
                if tls.server_name.is_none()
                    && addresses.any(|it| matches!(it, Address::Unix(_))) =>
            {
                let message = "`verify-full` needs a `server_name` here: the backend is a Unix \
                    socket and has no name to check";
                self.absent(Some(written.span()), message);
            }
            BackendTlsMode::VerifyCa | BackendTlsMode::VerifyFull => {}
        }
        if let (Some(crl), None, false) = (&tls.crl, &tls.ca, mode == BackendTlsMode::Off) {
            self.absent(
                Some(crl.span()),
                "this `crl` has no `ca` whose lists it could hold",
            );
        }
        let crl = self.lists(tls.crl.as_ref());
        let (cert, key, form) = match self.backend_pair(tls) {
            Some(pair) => (Some(pair.cert), Some(pair.key), pair.form),
            None => (None, None, PairForm::default()),
        };
        BackendTls {
            mode,
            ca: tls.ca.as_ref().map(|ca| self.path(ca.get_ref())),
            crl,
            cert,
            key,
            form,
            server_name: tls
                .server_name
                .as_ref()
                .map(|name| name.get_ref().0.0.clone()),
        }
    }

    fn backend_pair(&mut self, tls: &file::BackendTls) -> Option<Pair> {
        let keys = PairKeys::from(tls);
        if !keys.names_pair() {
            for (key, span) in keys.spans() {
                let message = format!("this `{key}` has no `cert`");
                self.absent(Some(span), message);
            }
        }
        self.pair(&keys)
    }

    fn unused_without_tls(&mut self, tls: &file::BackendTls) {
        let given = [
            ("ca", tls.ca.as_ref().map(Spanned::span)),
            ("crl", tls.crl.as_ref().map(Spanned::span)),
            ("server_name", tls.server_name.as_ref().map(Spanned::span)),
        ];
        let given = given
            .into_iter()
            .filter_map(|(key, span)| Some((key, span?)));
        for (key, span) in given.chain(PairKeys::from(tls).spans()) {
            let message = format!("`{key}` has no use while `backend_tls` is off; give its `mode`");
            self.absent(Some(span), message);
        }
    }

    /// An operator who names an authority believes that it is asked.
    fn unchecked_ca(&mut self, ca: Option<&Spanned<Parsed<Text>>>) {
        let message = "`require` does not check the backend's certificate against this; \
            use verify-ca or verify-full";
        if let Some(ca) = ca {
            self.wrong(ca.span(), message);
        }
    }

    fn proxy_protocol(&mut self, written: file::ProxyProtocol) -> ProxyProtocol {
        let default = ProxyProtocol::default();
        let accept = written.accept.unwrap_or(default.accept);
        let from = match written.from {
            None if accept => Network::nearby(),
            None => Vec::new(),
            Some(from) => {
                if !accept {
                    let message = "`from` has no use without `accept = true`";
                    self.absent(Some(from.span()), message);
                } else if from.get_ref().0.is_empty() {
                    let message = "no network is named; leave the key out for private networks";
                    self.wrong(from.span(), message);
                }
                from.into_inner().0.into_iter().map(|it| it.0).collect()
            }
        };
        ProxyProtocol {
            accept,
            from,
            send: word(written.send).unwrap_or(default.send),
        }
    }

    fn limits(&mut self, written: &file::Limits) -> Limits {
        let default = Limits::default();
        let (handshake, connect) = (&written.handshake_timeout, &written.connect_timeout);
        Limits {
            max_connections: self.count(
                "max_connections",
                written.max_connections.as_ref(),
                1..=u32::MAX,
                default.max_connections,
            ),
            per_client: self.count(
                "per_client",
                written.per_client.as_ref(),
                0..=PER_CLIENT_MAX,
                default.per_client,
            ),
            handshake_timeout: self.deadline(
                handshake.as_ref(),
                default.handshake_timeout,
                SHORTEST,
            ),
            connect_timeout: self.deadline(connect.as_ref(), default.connect_timeout, SHORTEST),
            idle_timeout: written
                .idle_timeout
                .as_ref()
                .map_or(Duration::ZERO, |idle| idle.0.0),
            dead_peer_timeout: self.dead_peer_timeout(written.dead_peer_timeout.as_ref()),
        }
    }

    fn dead_peer_timeout(&mut self, written: Option<&Spanned<Parsed<Time>>>) -> Duration {
        let Some(written) = written else {
            return Limits::default().dead_peer_timeout;
        };
        let limit = written.get_ref().0.0;
        if !limit.is_zero() && limit < SHORTEST_SILENCE {
            let message = "this is shorter than 1s, and a packet that is lost is not sent again in time; \
                write `0s` to leave it to the kernel";
            self.wrong(written.span(), message);
        }
        limit
    }

    /// Returns a number within `range`; `default` if none is written.
    fn count(
        &mut self,
        key: &str,
        written: Option<&Spanned<i64>>,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let Some(written) = written else {
            return default;
        };
        let number = u32::try_from(*written.get_ref());
        let number = number.ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            let message = format!("`{key}` is a number from {least} to {most}");
            self.wrong(written.span(), message);
        }
        number.unwrap_or(default)
    }
}

fn unknown_identity(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(meant) => format!("there is no identity `{name}`; did you mean `{meant}`?"),
        None => format!(
            "there is no identity `{name}`; there is `{}`",
            known.join("`, `")
        ),
    }
}
