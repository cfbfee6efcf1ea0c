"""The files of the package: which file of the repository goes where, and with which mode."""

import functools
import glob
import gzip
import os
import shutil
import subprocess
from typing import NamedTuple

import links
import source

# What Debian wants compressed.
COMPRESSED = ("usr/share/man/", "usr/share/doc/proxyd/changelog")

# The copyright file holds them.
LICENCES = ("LICENSE-APACHE", "LICENSE-MIT")


class Asset(NamedTuple):
    """A file of the package."""

    # Its path in the repository; that of a program begins with target/release/.
    source: str
    # Its path in the package.
    target: str
    mode: int


@functools.cache
def assets():
    """Returns all files that Cargo.toml lists under [package.metadata.deb], in its order."""
    found = []
    for pattern, target, mode in source.manifest()["metadata"]["deb"]["assets"]:
        for name, inside in matches(pattern):
            whole = target + inside if target.endswith("/") else target
            compressed = whole.startswith(COMPRESSED)
            found.append(Asset(name, whole + ".gz" if compressed else whole, int(mode, 8)))
    return found


def matches(pattern):
    """Returns the files of a pattern in the order of their names, and the path of each below the folder that the pattern names.

    Of `docs/**/*` these are all files in `docs` and in its folders, as cargo-deb has it.
    """
    if pattern.startswith("target/release/"):
        return [(pattern, os.path.basename(pattern))]
    names = sorted(glob.glob(pattern, root_dir=source.REPOSITORY, recursive=True))
    base = os.path.dirname(pattern.partition("*")[0] if "*" in pattern else pattern)
    found = [(name, os.path.relpath(name, base)) for name in names if os.path.isfile(source.path(name))]
    if not found:
        source.fail(f"{pattern} of Cargo.toml matches no file")
    return found


def places():
    """Returns where the package has what is in the repository, by path there."""
    there = {asset.source: asset.target for asset in assets()}
    return there | dict.fromkeys(LICENCES, "usr/share/doc/proxyd/copyright")


def install(root, programs):
    """Puts all files into the folder `root`, with the programs from the folder `programs`."""
    for asset in assets():
        if asset.source.startswith("target/release/"):
            strip(os.path.join(programs, os.path.basename(asset.source)), prepared(root, asset.target))
        elif asset.source.endswith(".md"):
            text = links.rewritten(source.read(asset.source), asset.source, asset.target, places())
            put(root, asset.target, links.renamed(text, places()).encode(), asset.mode)
        else:
            with open(source.path(asset.source), "rb") as file:
                put(root, asset.target, file.read(), asset.mode)


def put(root, target, contents, mode=0o644):
    """Writes a file of the package, compressed where its name says so."""
    path = prepared(root, target)
    with open(path, "wb") as file:
        file.write(gzip.compress(contents, mtime=0) if target.endswith(".gz") else contents)
    os.chmod(path, mode)


def prepared(root, target):
    """Returns the path of a file of the package, whose folder is there."""
    path = os.path.join(root, target)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def strip(program, target):
    """Copies a program without its symbols, as Debian's packages have them."""
    shutil.copyfile(program, target)
    command = ["strip", "--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", target]
    subprocess.run(command, check=True)
    os.chmod(target, 0o755)
