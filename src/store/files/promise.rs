//! Which file systems tell by a file's times that it was written to.
//!
//! On these, each write, truncation, rename and change of rights sets the time of the last status
//! change from the kernel's own clock, and nothing can set it back. So a file whose device, inode,
//! size and times are as they were, and whose last change was not too recent when it was read, holds
//! what it held.
//!
//! - ext2, ext3 and ext4, XFS, Btrfs: the kernel does it, for a lazy mount (`lazytime`) in memory.
//! - tmpfs: the same, and what Kubernetes mounts secrets on.
//! - overlayfs: it shows the times of the file below, and a copy up makes a new file. To write to
//!   its layers behind its back is undefined anyway.
//!
//! Not listed, so that their files are read: NFS, CIFS, 9P, FUSE and what is like them, because
//! others write there and times come from other clocks or out of caches; vfat and exFAT, which have
//! no time of status change that holds; ZFS and others, whose drivers are not part of Linux or were
//! not looked at.
//!
//! A write through a shared memory mapping is the exception everywhere: the time may change late, on
//! tmpfs not at all. No tool that writes certificates does that; `reload-tls --read-all` reads such files.

use std::os::fd::AsFd;

use nix::sys::statfs::fstatfs;

/// ext2 to ext4, XFS, Btrfs, tmpfs and overlayfs, as statfs(2) numbers them.
const LISTED: [u32; 5] = [
    0x0000_ef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
];

/// Returns whether an open file lies on a file system that keeps this promise.
pub(crate) fn holds_for(file: &impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|about| is_listed(about.filesystem_type().0))
}

fn is_listed(number: i64) -> bool {
    let number = number & 0xffff_ffff;
    LISTED.iter().any(|listed| i64::from(*listed) == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_file_systems_are_listed_and_those_that_others_write_to_are_not() {
        for number in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert!(is_listed(number), "{number:#x}");
        }
        let (nfs, fuse, nine_p, cifs, smb2) =
            (0x6969, 0x6573_5546, 0x0102_1997, 0xff53_4d42, 0xfe53_4d42);
        let (vfat, exfat, zfs) = (0x4d44, 0x2011_bab0, 0x2fc1_2fc1);
        for number in [nfs, fuse, nine_p, cifs, smb2, vfat, exfat, zfs] {
            assert!(!is_listed(number), "{number:#x}");
        }
    }
}
