//! The configuration file as it is written.
//!
//! Every key is optional here and every default is `None`: what must be given, and what is taken
//! in its place, is for `check` to say. A value keeps its place in the file if it can be wrong in
//! a way that shows only beside other values.

use std::{fmt, marker::PhantomData, net::SocketAddr, ops::Deref, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
};
use toml::Spanned;

use super::{
    Address, AllowRule, BackendTlsMode, ChannelBinding, ClientAuthMode, LogFormat, LogLevel,
    Network, OnUnknown, ProxyHeaderVersion, Resumption, TlsMode, TlsVersion, UnknownName,
    value::{HostName, KeepAfter, Name, ServerName, Text, Time},
};
use crate::protocol::Protocol;

/// The whole file.
#[expect(clippy::struct_field_names, reason = "the names are the file's keys")]
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) workers: Option<Spanned<i64>>,
    pub(super) user: Option<Parsed<Text>>,
    pub(super) state_dir: Option<Parsed<Text>>,
    pub(super) control_socket: Option<Spanned<Parsed<Text>>>,
    pub(super) control_group: Option<Parsed<Text>>,
    pub(super) pid_file: Option<Parsed<Text>>,
    pub(super) drain_timeout: Option<Parsed<Time>>,
    pub(super) heartbeat_timeout: Option<Spanned<Parsed<Time>>>,
    pub(super) keep_after: Option<Parsed<KeepAfter>>,
    pub(super) orphan_timeout: Option<Parsed<Time>>,
    pub(super) watch: Option<bool>,
    pub(super) watch_interval: Option<Spanned<Parsed<Time>>>,
    pub(super) watch_grace: Option<Spanned<Parsed<Time>>>,
    pub(super) log: Table<Log>,
    pub(super) metrics: Option<Spanned<Table<Metrics>>>,
    pub(super) on_exit_failure: Option<Spanned<Table<ExitHook>>>,
    pub(super) identity: Vec<Spanned<Table<Identity>>>,
    pub(super) identity_dir: Vec<Spanned<Table<IdentityDir>>>,
    pub(super) listener: Vec<Spanned<Table<Listener>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Option<Word<LogLevel>>,
    pub(super) format: Option<Word<LogFormat>>,
    pub(super) file: Option<Parsed<Text>>,
    pub(super) sessions: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) bind: Option<Spanned<Parsed<SocketAddr>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExitHook {
    pub(super) command: Option<Spanned<Vec<String>>>,
    pub(super) timeout: Option<Spanned<Parsed<Time>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Identity {
    pub(super) name: Option<Spanned<Parsed<Name>>>,
    pub(super) cert: Option<Spanned<Parsed<Text>>>,
    pub(super) key: Option<Spanned<Parsed<Text>>>,
    pub(super) pkcs12: Option<Spanned<Parsed<Text>>>,
    pub(super) passphrase_file: Option<Spanned<Parsed<Text>>>,
    pub(super) passphrase_command: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdentityDir {
    pub(super) name: Option<Spanned<Parsed<Name>>>,
    pub(super) path: Option<Parsed<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listener {
    pub(super) name: Option<Spanned<Parsed<Name>>>,
    pub(super) bind: Option<Spanned<Parsed<Address>>>,
    pub(super) freebind: Option<Spanned<bool>>,
    pub(super) protocol: Option<Word<Protocol>>,
    pub(super) backend: Option<Spanned<Several<Parsed<Address>>>>,
    pub(super) identities: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) server_names: Vec<Parsed<HostName>>,
    pub(super) tls: Table<Tls>,
    pub(super) client_auth: Option<Spanned<Table<ClientAuth>>>,
    pub(super) backend_tls: Option<Spanned<Table<BackendTls>>>,
    pub(super) channel_binding: Option<Spanned<Word<ChannelBinding>>>,
    pub(super) allow_cleartext_password: Option<Spanned<bool>>,
    pub(super) proxy_protocol: Table<ProxyProtocol>,
    pub(super) limits: Table<Limits>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) mode: Option<Spanned<Word<TlsMode>>>,
    pub(super) min_version: Option<Word<TlsVersion>>,
    pub(super) unknown_name: Option<Word<UnknownName>>,
    pub(super) resumption: Option<Word<Resumption>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClientAuth {
    pub(super) mode: Option<Word<ClientAuthMode>>,
    pub(super) ca: Option<Parsed<Text>>,
    pub(super) crl: Option<Spanned<Several<Parsed<Text>>>>,
    pub(super) expired_crl: Option<Spanned<Word<OnUnknown>>>,
    pub(super) unknown_revocation: Option<Spanned<Word<OnUnknown>>>,
    pub(super) unscoped_crl: Option<Spanned<Word<OnUnknown>>>,
    pub(super) allow: Option<Spanned<Vec<Parsed<AllowRule>>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BackendTls {
    pub(super) mode: Option<Word<BackendTlsMode>>,
    pub(super) ca: Option<Spanned<Parsed<Text>>>,
    pub(super) crl: Option<Spanned<Several<Parsed<Text>>>>,
    pub(super) cert: Option<Spanned<Parsed<Text>>>,
    pub(super) key: Option<Spanned<Parsed<Text>>>,
    pub(super) pkcs12: Option<Spanned<Parsed<Text>>>,
    pub(super) passphrase_file: Option<Spanned<Parsed<Text>>>,
    pub(super) passphrase_command: Option<Spanned<Vec<String>>>,
    pub(super) server_name: Option<Spanned<Parsed<ServerName>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProxyProtocol {
    pub(super) accept: Option<bool>,
    pub(super) from: Option<Spanned<Several<Parsed<Network>>>>,
    pub(super) send: Option<Word<ProxyHeaderVersion>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) max_connections: Option<Spanned<i64>>,
    pub(super) per_client: Option<Spanned<i64>>,
    pub(super) handshake_timeout: Option<Spanned<Parsed<Time>>>,
    pub(super) connect_timeout: Option<Spanned<Parsed<Time>>>,
    pub(super) idle_timeout: Option<Parsed<Time>>,
    pub(super) dead_peer_timeout: Option<Spanned<Parsed<Time>>>,
}

/// A string that was parsed, so that a refusal points at it.
#[derive(Debug)]
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T> Deserialize<'de> for Parsed<T>
where
    T: FromStr<Err: fmt::Display>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// One of several words.
///
/// Left to itself an enum may be written as a table too, which is how serde has variants with data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<T>(pub(super) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::deserialize(text.into_deserializer()).map(Self)
    }
}

/// One value, or an array of them.
#[derive(Debug)]
pub(super) struct Several<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeveralVisitor(PhantomData))
    }
}

struct SeveralVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SeveralVisitor<T> {
    type Value = Several<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(text.into_deserializer()).map(|one| Several(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = array.next_element()? {
            all.push(one);
        }
        Ok(Several(all))
    }
}

/// A table and nothing else.
///
/// serde's derived code takes an array for a struct too, in the order of its fields; in a file that
/// people write this is only ever a mistake.
#[derive(Debug, Default)]
pub(super) struct Table<T>(pub(super) T);

impl<T> Deref for Table<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = Table<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Table)
    }
}
