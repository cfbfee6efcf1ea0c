//! Files as the source of pieces.

use super::{
    discover::discover,
    memo::{Begun, Depth, Memo},
    neighbours,
    piece::Piece,
};
use crate::{
    config::{Config, IdentityFiles},
    store::source::{Item, Origin, Snapshot, Source, Stock, Version},
};

/// The files of this machine, of which what earlier reads found is believed as far as `depth` says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'m> {
    /// What earlier reads found.
    pub(crate) memo: &'m Memo,
    /// How far it is believed.
    pub(crate) depth: Depth,
}

impl Source for Files<'_> {
    fn stock(&self, config: &Config) -> Stock {
        let found = discover(config);
        let item = |origin| move |files: IdentityFiles| Item { origin, files };
        let configured = config.identities.iter().cloned();
        let configured = configured.map(item(Origin::Configured));
        let entries = found.identities.into_iter().map(item(Origin::Entry));
        Stock {
            items: configured.chain(entries).collect(),
            hollow: found.hollow,
            lost: found.lost,
            problems: found.problems,
            warnings: found.warnings,
        }
    }

    fn version(&self, piece: &Piece) -> Option<Version> {
        self.memo.glance(piece, self.depth)
    }

    fn snapshot(&self, piece: &Piece) -> Snapshot {
        let begun = Begun::now();
        let parts = piece.read();
        self.memo.remember(piece, &parts, begun);
        Snapshot {
            version: piece.digest(&parts),
            parts,
        }
    }

    /// Files are read again, but where the file system promises that a write would show: see
    /// [`super::promise`].
    fn changed(&self, piece: &Piece, since: Version) -> Option<Snapshot> {
        if self.memo.glance(piece, Depth::Promised) == Some(since) {
            return None;
        }
        Some(self.snapshot(piece)).filter(|it| it.version != since)
    }

    fn beside_key(&self, piece: &Piece, public_half: &[u8]) -> Option<String> {
        let found = neighbours::certificate_of(public_half, piece.paths.with_key())?;
        Some(found.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        config::IdentityDir,
        store::files::{parts::Parts, piece::Read},
        tls::testing,
    };

    #[test]
    fn what_the_configuration_names_comes_before_what_lies_in_its_folders() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.pem"), "x").unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        let mut config = testing::config(vec![]);
        let at = |name: &str| dir.path().join(name);
        let named = IdentityFiles::pem("named", at("cert"), at("key"));
        config.identities.push(named);
        for (name, path) in [("live", dir.path().to_owned()), ("lost", at("nowhere"))] {
            let name = name.to_owned();
            config.identity_dirs.push(IdentityDir { name, path });
        }
        let memo = Memo::default();
        let depth = Depth::Contents;
        let stock = Files { memo: &memo, depth }.stock(&config);
        let items = stock.items.iter();
        let items: Vec<_> = items.map(|it| (it.origin, &*it.files.name)).collect();
        assert_eq!(
            items,
            [(Origin::Configured, "named"), (Origin::Entry, "live/a")]
        );
        assert_eq!(stock.hollow[0].0, "live/empty");
        assert_eq!(stock.lost, ["lost"]);
        assert_eq!(stock.problems.len(), 1, "{:?}", stock.problems);
    }

    #[test]
    fn a_change_is_another_content_or_none_in_any_part() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
        fs::write(&cert, "one").unwrap();
        fs::write(&key, "one").unwrap();
        let paths = Parts::pair(cert.clone(), Some(key.clone()), None);
        let piece = Piece::new("thing".to_owned(), paths, 64);
        let memo = Memo::default();
        let depth = Depth::Stamps;
        let files = Files { memo: &memo, depth };
        let first = files.snapshot(&piece);
        fs::write(&cert, "one").unwrap();
        assert!(files.changed(&piece, first.version).is_none());
        fs::write(&key, "two").unwrap();
        let second = files.changed(&piece, first.version).unwrap();
        let text = |part: &Read| part.as_ref().unwrap().bytes.to_vec();
        assert_eq!(text(&second.parts.certs), b"one");
        assert_eq!(second.parts.key.as_ref().map(text), Some(b"two".to_vec()));
        fs::remove_file(&key).unwrap();
        let third = files.changed(&piece, second.version).unwrap();
        assert!(third.parts.certs.is_ok());
        assert!(third.parts.key.is_some_and(|it| it.is_err()));
        assert!(files.changed(&piece, third.version).is_none());
    }
}
