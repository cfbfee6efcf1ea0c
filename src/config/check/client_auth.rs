//! The checks of what a listener asks of a client's certificate.

use std::{collections::HashSet, path::PathBuf};

use toml::Spanned;

use super::{Check, word};
use crate::config::{
    AllowRule, ClientAuth, ClientAuthMode, OnUnknown, TlsMode,
    file::{self, Parsed, Several, Table, Word},
    value::Text,
};

impl Check<'_> {
    pub(super) fn client_auth(
        &mut self,
        written: &Spanned<Table<file::ClientAuth>>,
        tls: &file::Tls,
    ) -> ClientAuth {
        let auth = written.get_ref();
        let mode = word(auth.mode);
        self.unasked(written, mode);
        self.unused_without_lists(auth);
        let plaintext = tls
            .mode
            .as_ref()
            .filter(|mode| mode.get_ref().0 == TlsMode::Preferred);
        if let (Some(ClientAuthMode::Required), Some(mode)) = (mode, plaintext) {
            let message = "`preferred` lets plaintext in, which carries no certificate, but \
                `client_auth` is required";
            self.wrong(mode.span(), message);
        }
        let default = ClientAuth::default();
        let on_unknown = |written: Option<&Spanned<Word<OnUnknown>>>, default| {
            written.map_or(default, |it| it.get_ref().0)
        };
        let unknown_revocation =
            on_unknown(auth.unknown_revocation.as_ref(), default.unknown_revocation);
        ClientAuth {
            mode: mode.unwrap_or(default.mode),
            ca: auth.ca.as_ref().map(|ca| self.path(ca)),
            crl: self.lists(auth.crl.as_ref()),
            expired_crl: on_unknown(auth.expired_crl.as_ref(), default.expired_crl),
            unknown_revocation,
            // To the client, lists that are not for its certificate are as good as none.
            unscoped_crl: on_unknown(auth.unscoped_crl.as_ref(), unknown_revocation),
            allow: self.allow(auth.allow.as_ref(), mode),
        }
    }

    /// Notes that a mode is missing, or that what it needs is.
    fn unasked(
        &mut self,
        written: &Spanned<Table<file::ClientAuth>>,
        mode: Option<ClientAuthMode>,
    ) {
        let auth = written.get_ref();
        let has_more = auth.ca.is_some() || auth.crl.is_some() || auth.allow.is_some();
        match mode {
            None if has_more => {
                let message = "`client_auth` has no `mode`, so nothing would be checked; \
                    write optional, required or off";
                self.absent(Some(written.span()), message);
            }
            Some(ClientAuthMode::Optional | ClientAuthMode::Required) if auth.ca.is_none() => {
                let message = "`client_auth` has no `ca` to check certificates with";
                self.absent(Some(written.span()), message);
            }
            _ => {}
        }
    }

    /// An operator who says what to do about lists believes that there are some.
    fn unused_without_lists(&mut self, auth: &file::ClientAuth) {
        if auth.crl.is_some() {
            return;
        }
        let given = [
            ("expired_crl", auth.expired_crl.as_ref()),
            ("unknown_revocation", auth.unknown_revocation.as_ref()),
            ("unscoped_crl", auth.unscoped_crl.as_ref()),
        ];
        for (key, written) in given {
            if let Some(written) = written {
                self.absent(
                    Some(written.span()),
                    format!("`{key}` has no use without `crl`"),
                );
            }
        }
    }

    /// Returns the files of revocation lists, each once.
    pub(super) fn lists(
        &mut self,
        written: Option<&Spanned<Several<Parsed<Text>>>>,
    ) -> Vec<PathBuf> {
        let Some(written) = written else {
            return Vec::new();
        };
        let paths: Vec<_> = written
            .get_ref()
            .0
            .iter()
            .map(|text| self.path(text))
            .collect();
        if paths.is_empty() {
            self.wrong(written.span(), "no file is named; leave the key out");
        }
        let mut seen = HashSet::new();
        if let Some(twice) = paths.iter().find(|path| !seen.insert(*path)) {
            let message = format!("`{}` is named twice", twice.display());
            self.wrong(written.span(), message);
        }
        paths
    }

    fn allow(
        &mut self,
        written: Option<&Spanned<Vec<Parsed<AllowRule>>>>,
        mode: Option<ClientAuthMode>,
    ) -> Vec<AllowRule> {
        let Some(written) = written else {
            return Vec::new();
        };
        let rules: Vec<_> = written.get_ref().iter().map(|it| it.0.clone()).collect();
        if rules.is_empty() {
            let message = "this would let no client in; leave the key out to let in every client whose \
                certificate is good";
            // An array that lost its items to other complaints says nothing of its own.
            self.absent(Some(written.span()), message);
        }
        if mode == Some(ClientAuthMode::Off) {
            let message = "`allow` has no use while `client_auth` is off; write optional or \
                required";
            self.wrong(written.span(), message);
        }
        rules
    }
}
