//! The checks of a certificate with its private key, wherever one is named.

use std::{ops::Range, path::PathBuf};

use toml::Spanned;

use super::Check;
use crate::config::{
    PairEncoding, PairForm, PassphraseSource,
    file::{self, Parsed},
    value::Text,
};

/// The keys of a table that name a certificate and its private key.
pub(super) struct PairKeys<'f> {
    cert: Option<&'f Spanned<Parsed<Text>>>,
    key: Option<&'f Spanned<Parsed<Text>>>,
    pkcs12: Option<&'f Spanned<Parsed<Text>>>,
    passphrase_file: Option<&'f Spanned<Parsed<Text>>>,
    passphrase_command: Option<&'f Spanned<Vec<String>>>,
}

/// What they mean.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) form: PairForm,
}

macro_rules! from_table {
    ($($table:ty),*) => {$(
        impl<'f> From<&'f $table> for PairKeys<'f> {
            fn from(written: &'f $table) -> Self {
                Self {
                    cert: written.cert.as_ref(),
                    key: written.key.as_ref(),
                    pkcs12: written.pkcs12.as_ref(),
                    passphrase_file: written.passphrase_file.as_ref(),
                    passphrase_command: written.passphrase_command.as_ref(),
                }
            }
        }
    )*};
}

from_table!(file::Identity, file::BackendTls);

impl PairKeys<'_> {
    /// Returns whether a certificate is named at all.
    pub(super) fn names_pair(&self) -> bool {
        self.cert.is_some() || self.pkcs12.is_some()
    }

    /// Returns the keys that are given, and where they stand.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&'static str, Range<usize>)> + use<> {
        let span = |text: Option<&Spanned<_>>| text.map(Spanned::span);
        let all = [
            ("cert", span(self.cert)),
            ("key", span(self.key)),
            ("pkcs12", span(self.pkcs12)),
            ("passphrase_file", span(self.passphrase_file)),
            (
                "passphrase_command",
                self.passphrase_command.map(Spanned::span),
            ),
        ];
        all.into_iter().filter_map(|(key, span)| Some((key, span?)))
    }
}

impl Check<'_> {
    /// Returns the certificate and private key that are named; `None` if none are.
    pub(super) fn pair(&mut self, written: &PairKeys<'_>) -> Option<Pair> {
        let passphrase = self.passphrase(written);
        let (file, encoding) = match (written.pkcs12, written.cert) {
            (Some(pkcs12), _) => (pkcs12, PairEncoding::Pkcs12),
            (None, Some(cert)) => (cert, PairEncoding::Pem),
            (None, None) => return None,
        };
        let cert = self.path(file.get_ref());
        let key = match encoding {
            PairEncoding::Pem => written.key.map(|key| self.path(key.get_ref())),
            PairEncoding::Pkcs12 => {
                self.nothing_beside_pkcs12(written);
                None
            }
        };
        Some(Pair {
            key: key.unwrap_or_else(|| cert.clone()),
            cert,
            form: PairForm {
                encoding,
                passphrase,
            },
        })
    }

    fn nothing_beside_pkcs12(&mut self, written: &PairKeys<'_>) {
        for (key, text) in [("cert", written.cert), ("key", written.key)] {
            let message = format!("`pkcs12` holds certificate and key; leave `{key}` out");
            if let Some(text) = text {
                self.wrong(text.span(), message);
            }
        }
    }

    fn passphrase(&mut self, written: &PairKeys<'_>) -> Option<PassphraseSource> {
        if let (Some(_), Some(command)) = (written.passphrase_file, written.passphrase_command) {
            let message = "a passphrase comes from `passphrase_file` or from \
                `passphrase_command`; leave one out";
            self.wrong(command.span(), message);
        }
        let file = written.passphrase_file.map(|file| {
            let path = self.path(file.get_ref());
            PassphraseSource::File(path)
        });
        let command = written.passphrase_command.map(|command| {
            let command = self.command(command);
            PassphraseSource::Command(command)
        });
        file.or(command)
    }
}
