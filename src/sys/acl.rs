//! Access control lists of files, which say more than modes do.

use std::path::Path;

use rustix::{fs::getxattr, io::Errno};

/// The list of `acl(5)`.
const POSIX: &str = "system.posix_acl_access";

/// The list of a file on NFS version 4.
const NFS4: &str = "system.nfs4_acl";

/// How the kernel writes lists: `linux/posix_acl_xattr.h`.
const VERSION: [u8; 4] = 2_u32.to_le_bytes();

/// Tags of entries, `linux/posix_acl.h`.
mod tag {
    pub(super) const OWNER: u16 = 0x01;
    pub(super) const USER: u16 = 0x02;
    pub(super) const OWNING_GROUP: u16 = 0x04;
    pub(super) const GROUP: u16 = 0x08;
    pub(super) const MASK: u16 = 0x10;
    pub(super) const OTHERS: u16 = 0x20;
}

/// What a file has beside its mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Acl {
    /// Nothing: its mode says all.
    None,
    /// A list, of which the mode is a summary.
    Posix(Vec<Entry>),
    /// Something that is not understood here.
    Unknown,
}

/// An entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    tag: u16,
    rights: u32,
    id: u32,
}

/// A user and its group, or those that a file belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Acl {
    /// Reads what the file at `path` has.
    pub(super) fn of(path: &Path) -> Self {
        let mut text = [0; 4096];
        let absent = |error| matches!(error, Errno::NODATA | Errno::OPNOTSUPP);
        match getxattr(path, POSIX, &mut text) {
            Ok(length) => text.get(..length).map_or(Self::Unknown, Self::read),
            Err(error) if !absent(error) => Self::Unknown,
            Err(_) => match getxattr(path, NFS4, &mut text) {
                Err(error) if absent(error) => Self::None,
                _ => Self::Unknown,
            },
        }
    }

    fn read(text: &[u8]) -> Self {
        let Some(entries) = text.strip_prefix(&VERSION) else {
            return Self::Unknown;
        };
        let (entries, rest) = entries.as_chunks();
        if !rest.is_empty() {
            return Self::Unknown;
        }
        Self::Posix(entries.iter().copied().map(Entry::read).collect())
    }
}

impl Entry {
    fn read([t0, t1, r0, r1, i0, i1, i2, i3]: [u8; 8]) -> Self {
        Self {
            tag: u16::from_le_bytes([t0, t1]),
            rights: u16::from_le_bytes([r0, r1]).into(),
            id: u32::from_le_bytes([i0, i1, i2, i3]),
        }
    }
}

/// Whether a list gives `who`, a member of one group, the right, a digit of a mode, to a file of `owner`:
/// the access check algorithm of `acl(5)`.
pub(super) fn allows(entries: &[Entry], owner: Ids, who: Ids, right: u32) -> bool {
    let gives = |it: &Entry| it.rights & right != 0;
    let find = |tag| entries.iter().find(move |it| it.tag == tag);
    if who.uid == owner.uid {
        return find(tag::OWNER).is_some_and(gives);
    }
    let is_let_through = find(tag::MASK).is_none_or(gives);
    let mut named = entries.iter();
    if let Some(user) = named.find(|it| it.tag == tag::USER && it.id == who.uid) {
        return gives(user) && is_let_through;
    }
    let is_own_group = |it: &&Entry| match it.tag {
        tag::OWNING_GROUP => who.gid == owner.gid,
        tag::GROUP => who.gid == it.id,
        _ => false,
    };
    let mut groups = entries.iter().filter(is_own_group).peekable();
    if groups.peek().is_some() {
        return groups.any(gives) && is_let_through;
    }
    find(tag::OTHERS).is_some_and(gives)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Ids = Ids { uid: 1, gid: 1 };

    fn entry(tag: u16, rights: u32, id: u32) -> Entry {
        Entry { tag, rights, id }
    }

    /// A list with these entries among those that each list has.
    fn list(named: &[Entry], mask: u32) -> Vec<Entry> {
        let mut all = vec![
            entry(tag::OWNER, 0o7, u32::MAX),
            entry(tag::OWNING_GROUP, 0o5, u32::MAX),
            entry(tag::MASK, mask, u32::MAX),
            entry(tag::OTHERS, 0, u32::MAX),
        ];
        all.extend_from_slice(named);
        all
    }

    #[test]
    fn the_entry_of_the_user_goes_before_its_group_and_its_group_before_others() {
        let may = |entries: &[Entry], uid, gid| allows(entries, OWNER, Ids { uid, gid }, 0o1);
        let user = list(&[entry(tag::USER, 0o5, 7)], 0o5);
        assert!(may(&user, 7, 7));
        assert!(!may(&user, 8, 8));
        assert!(may(&user, 8, OWNER.gid));
        assert!(may(&user, OWNER.uid, 8));
        let group = list(&[entry(tag::GROUP, 0o5, 7)], 0o5);
        assert!(may(&group, 8, 7));
        let shut = list(&[entry(tag::USER, 0, 7), entry(tag::GROUP, 0o5, 7)], 0o5);
        assert!(!may(&shut, 7, 7));
        // A group that is named without the right is not one of the others.
        let mut open = list(&[entry(tag::GROUP, 0o4, 7)], 0o5);
        open.iter_mut()
            .filter(|it| it.tag == tag::OTHERS)
            .for_each(|it| it.rights = 0o5);
        assert!(!may(&open, 8, 7));
        assert!(may(&open, 8, 8));
    }

    #[test]
    fn the_mask_takes_rights_from_all_but_the_owner_and_others() {
        let may = |entries: &[Entry], uid, gid| allows(entries, OWNER, Ids { uid, gid }, 0o1);
        let masked = list(&[entry(tag::USER, 0o5, 7)], 0o4);
        assert!(!may(&masked, 7, 7));
        assert!(!may(&masked, 8, OWNER.gid));
        assert!(may(&masked, OWNER.uid, 8));
    }

    #[test]
    fn a_list_is_read_as_the_kernel_writes_it() {
        let text = [2, 0, 0, 0, 2, 0, 5, 0, 0xfe, 0xff, 0, 0];
        let user = entry(tag::USER, 0o5, 65534);
        assert_eq!(Acl::read(&text), Acl::Posix(vec![user]));
        for odd in [&text[..11], &[3, 0, 0, 0], b""] {
            assert_eq!(Acl::read(odd), Acl::Unknown);
        }
    }
}
