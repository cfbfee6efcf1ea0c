//! What earlier reads of the disk found, so that only what has changed is parsed again.
//!
//! Content decides. What the file system says of a file spares reading it within limits: not while
//! its last write is so recent that another could hide in the same tick of the clock. Where the file
//! system does not promise that each write shows (see [`super::promise`]), a reload that an operator
//! asks for reads the file all the same, and the daemon's own loads believe what it says for no longer
//! than [`BELIEVED`].

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;

use super::{
    parts::Parts,
    piece::{Piece, Read, digest_of},
    read::Stamp,
};
use crate::{
    facts::Moment,
    store::{bundle, judge::Verdict},
    tls::material::{Bundle, Der, Identity, KeyPair},
    x509::certificate,
};

/// How long a file that may change unseen is believed to be what it was, and what was bad to be bad.
const BELIEVED: Duration = Duration::from_secs(60);

/// A write is told from the one before by its time only if they are further apart than the coarsest
/// clock of a file system in use: two seconds.
const TICK: Duration = Duration::from_secs(2);

/// How far unchanged stamps are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Not at all: every file is read.
    Contents,
    /// A file whose stamp is as it was is not read again where the file system promises that each
    /// write changes the stamp.
    Promised,
    /// Elsewhere neither, for up to a minute.
    Stamps,
}

/// Whose pieces a load reads, so that a look at one configuration forgets nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The configuration in force.
    InForce,
    /// Any other: one that is verified, or judged for a status.
    Other,
}

/// What earlier reads of the disk found. Shared by all who read it.
#[derive(Debug, Default)]
pub struct Memo {
    /// By path, as it is written.
    files: Mutex<HashMap<OsString, Seen>>,
    /// Files that were read before are to be read again.
    demanded: Mutex<Option<Instant>>,
    /// The pieces of the last load for each owner.
    owned: Mutex<[HashSet<u64>; 2]>,
    pub(crate) identities: Shelf<Option<Arc<Identity>>>,
    pub(crate) backend_pairs: Shelf<KeyPair>,
    pub(crate) bundles: Shelf<Bundle>,
}

/// A file as it was read.
#[derive(Debug, Clone, Copy)]
struct Seen {
    stamp: Stamp,
    digest: [u8; 32],
    /// When the reading began.
    read: Instant,
    /// Whether the file system promises that each write changes the stamp.
    keeps_times: bool,
}

/// When a reading began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    wall: SystemTime,
    steady: Instant,
}

impl Begun {
    /// Returns the time now.
    pub(crate) fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }
}

impl Memo {
    /// Has every file read again that was read before now, whatever its stamp says.
    pub fn demand_contents(&self) {
        *lock(&self.demanded) = Some(Instant::now());
    }

    /// Remembers what was read of a piece's files.
    pub(crate) fn remember(&self, piece: &Piece, reads: &Parts<Read>, begun: Begun) {
        for (path, found) in piece.paths.iter().zip(reads.iter()) {
            let seen = Seen::of(found, begun);
            let mut files = lock(&self.files);
            match seen {
                Some(seen) => _ = files.insert(path.clone().into_os_string(), seen),
                None => _ = files.remove(path.as_os_str()),
            }
        }
    }

    /// Returns the digest of a piece whose files all look as they did when they were read.
    pub(crate) fn glance(&self, piece: &Piece, depth: Depth) -> Option<[u8; 32]> {
        let digests: Option<Vec<_>> = piece.paths.iter().map(|it| self.known(it, depth)).collect();
        digests.map(|it| piece.join(it.into_iter()))
    }

    /// Returns the digest of a piece's files, read where it must be.
    pub(crate) fn digest(&self, piece: &Piece) -> [u8; 32] {
        self.glance(piece, Depth::Stamps).unwrap_or_else(|| {
            let begun = Begun::now();
            let reads = piece.read();
            self.remember(piece, &reads, begun);
            piece.digest(&reads)
        })
    }

    fn known(&self, path: &Path, depth: Depth) -> Option<[u8; 32]> {
        let seen = *lock(&self.files).get(path.as_os_str())?;
        let is_new = || lock(&self.demanded).is_none_or(|since| since <= seen.read);
        let is_believed = match depth {
            Depth::Contents => false,
            Depth::Promised => seen.keeps_times,
            Depth::Stamps => seen.keeps_times || seen.read.elapsed() < BELIEVED,
        };
        let same = || Stamp::of(path).is_ok_and(|now| now == seen.stamp);
        (is_believed && is_new() && same()).then_some(seen.digest)
    }

    /// Returns the first moment after `judged` at which a piece of this owner is to be judged again because
    /// of time alone: what was not valid yet begins to be valid, or what was valid ends. `None` if there is
    /// no such moment.
    ///
    /// `judged` is the time by which the owner's last load judged. What changed before that and is
    /// remembered all the same did not stand still for that load, which another load does not mend.
    pub(crate) fn changes_at(&self, owner: Owner, judged: Timestamp) -> Option<Timestamp> {
        let sets = lock(&self.owned);
        let pieces = &sets[owner as usize];
        let of_kinds = [
            self.identities.changes_at(pieces, judged),
            self.backend_pairs.changes_at(pieces, judged),
            self.bundles.changes_at(pieces, judged),
        ];
        of_kinds.into_iter().flatten().min()
    }

    /// Forgets what this owner alone needed, which may be keys.
    pub(crate) fn forget(&self, owner: Owner) {
        self.keep(owner, std::iter::empty());
    }

    /// Forgets everything but these pieces and those of the other owner.
    pub(crate) fn keep<'p>(&self, owner: Owner, pieces: impl Iterator<Item = &'p Piece>) {
        let pieces: HashSet<u64> = pieces.flat_map(hashes).collect();
        let mut sets = lock(&self.owned);
        let most: usize = sets.iter().map(HashSet::len).sum();
        let own = &mut sets[owner as usize];
        if *own == pieces && lock(&self.files).len() <= most {
            return;
        }
        *own = pieces;
        let [one, other] = &*sets;
        let is_owned = |hash: u64| one.contains(&hash) || other.contains(&hash);
        lock(&self.files).retain(|path, _| is_owned(hash_of(&path.as_os_str())));
        self.identities.keep(is_owned);
        self.backend_pairs.keep(is_owned);
        self.bundles.keep(is_owned);
    }
}

impl Seen {
    /// Returns what is remembered of a file; `None` if nothing may be.
    fn of(found: &Read, begun: Begun) -> Option<Self> {
        let content = found.as_ref().ok()?;
        content.stamp.is_older(TICK, begun.wall).then(|| Self {
            stamp: content.stamp,
            digest: digest_of(found),
            read: begun.steady,
            keeps_times: content.keeps_times,
        })
    }
}

/// Returns by what a piece and its files are known to [`Memo::keep`]. Two that share a hash would
/// only be kept for longer.
fn hashes(piece: &Piece) -> impl Iterator<Item = u64> {
    std::iter::once(piece_hash(piece)).chain(piece.paths.iter().map(|it| hash_of(&it.as_os_str())))
}

fn piece_hash(piece: &Piece) -> u64 {
    let paths: Vec<_> = piece.paths.iter().map(|it| it.as_os_str()).collect();
    hash_of(&(&piece.subject, paths))
}

fn hash_of(it: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    it.hash(&mut hasher);
    hasher.finish()
}

/// Something whose verdict may change by the passing of time alone.
pub(crate) trait Perishable: Clone + Send + Sync {
    /// Returns the first moment after `now` at which it may.
    fn next_change(&self, now: Timestamp) -> Timestamp;
}

/// Where there is no identity, none comes by itself.
impl Perishable for Option<Arc<Identity>> {
    fn next_change(&self, now: Timestamp) -> Timestamp {
        self.as_ref()
            .map_or(Timestamp::MAX, |it| it.pair.next_change(now))
    }
}

impl Perishable for KeyPair {
    fn next_change(&self, now: Timestamp) -> Timestamp {
        self.chain.next_change(now)
    }
}

impl Perishable for Vec<Der> {
    fn next_change(&self, now: Timestamp) -> Timestamp {
        let periods = self.iter().filter_map(|der| {
            let certificate = certificate::parse(der.as_bytes()).ok()?;
            let from = certificate::not_before(&certificate);
            Some((from, Some(certificate::not_after(&certificate))))
        });
        next(periods, now)
    }
}

impl Perishable for Bundle {
    fn next_change(&self, now: Timestamp) -> Timestamp {
        let lists = self.crls.iter().filter_map(bundle::period);
        self.roots.next_change(now).min(next(lists, now))
    }
}

/// Returns the first moment after `now` at which one of these periods begins or is over.
fn next(periods: impl Iterator<Item = (Moment, Option<Moment>)>, now: Timestamp) -> Timestamp {
    // The second in which something ends belongs to it (RFC 5280 §4.1.2.5).
    let over = |end: Moment| Moment::from_second(end.as_second() + 1);
    periods
        .flat_map(|(from, end)| [Some(from), end.map(over)])
        .flatten()
        .map(Moment::to_timestamp)
        .filter(|moment| *moment > now)
        .min()
        .unwrap_or(Timestamp::MAX)
}

/// Verdicts of a kind.
pub(crate) struct Shelf<T>(Mutex<HashMap<Piece, Kept<T>>>);

struct Kept<T> {
    /// The piece's hash, see [`hashes`].
    hash: u64,
    digest: [u8; 32],
    verdict: Verdict<T>,
    from: Timestamp,
    /// The first moment at which it is no longer believed.
    until: Timestamp,
    /// The first moment at which it is wrong perhaps, though no file has changed.
    changes: Option<Timestamp>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

/// What lies on it may be keys; only how much it is is shown.
impl<T> fmt::Debug for Shelf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf({})", lock(&self.0).len())
    }
}

impl<T: Perishable> Shelf<T> {
    /// Returns what was said of these contents, if it would be said again.
    ///
    /// What was bad, or was opened by a program, is judged again by a caller that reads contents: not all of
    /// it is in the files, and an operator who mends something else and asks for a reload wants to know.
    pub(crate) fn find(
        &self,
        piece: &Piece,
        digest: [u8; 32],
        (depth, now): (Depth, Timestamp),
    ) -> Option<Verdict<T>> {
        let kept = lock(&self.0);
        let kept = kept.get(piece)?;
        let lies_in_files = kept.verdict.result.is_ok() && !piece.form.runs_program();
        let believed = lies_in_files || depth == Depth::Stamps;
        let holds = kept.digest == digest && kept.from <= now && now < kept.until;
        (believed && holds).then(|| kept.verdict.clone())
    }

    /// Keeps a verdict on contents, in the place of the last.
    pub(crate) fn put(
        &self,
        piece: &Piece,
        digest: [u8; 32],
        verdict: &Verdict<T>,
        now: Timestamp,
    ) {
        let changes = match &verdict.result {
            Ok(value) => Some(value.next_change(now)),
            Err(_) => verdict.until,
        };
        let believed = match &verdict.result {
            Ok(_) => Timestamp::MAX,
            Err(_) => now.saturating_add(BELIEVED).unwrap_or(now),
        };
        let until = changes.map_or(believed, |it| it.min(believed));
        let kept = Kept {
            hash: piece_hash(piece),
            digest,
            verdict: verdict.clone(),
            from: now,
            until,
            changes: changes.filter(|it| *it < Timestamp::MAX),
        };
        lock(&self.0).insert(piece.clone(), kept);
    }
}

impl<T> Shelf<T> {
    /// Returns the first moment after `judged` at which a verdict on one of these pieces changes.
    fn changes_at(&self, pieces: &HashSet<u64>, judged: Timestamp) -> Option<Timestamp> {
        let kept = lock(&self.0);
        let ours = kept.values().filter(|it| pieces.contains(&it.hash));
        let changes = ours.filter_map(|it| it.changes);
        changes.filter(|it| *it > judged).min()
    }

    fn keep(&self, is_owned: impl Fn(u64) -> bool) {
        lock(&self.0).retain(|_, it| is_owned(it.hash));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
