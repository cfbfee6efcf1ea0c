"""The tarball: the programs and all that belongs to them, for systems without packages of Debian.

Files are where the repository has them, so that the links of the texts lead there.
"""

import gzip
import io
import lzma
import os
import tarfile

import crates
import licences
import links
import source

# Files and folders of the repository that are in it.
CONTENTS = (
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "completions",
    "docs",
    "man",
    "packaging",
)

# What makes packages, images and releases out of the repository, of which the tarball is none.
LEFT_OUT = (
    "man/src",
    "packaging/build-deb",
    "packaging/container",
    "packaging/debian",
    "packaging/lib",
    "packaging/licences",
    "packaging/release",
)

SUFFIXES = {"xz": ".tar.xz", "gzip": ".tar.gz", "none": ".tar"}


def build(programs, compression, output):
    """Writes the tarball with the programs of a folder into the folder `output`."""
    name = f"proxyd-{source.manifest()['version']}-{crates.host()}"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, (contents, mode) in sorted(members(programs).items()):
            add(tar, f"{name}/{path}", contents, mode)
    with open(os.path.join(output, name + SUFFIXES[compression]), "wb") as file:
        file.write(compressed(archive.getvalue(), compression))


def members(programs):
    """Returns the contents and modes of all files, by path."""
    found = {"COPYRIGHT": (licences.copyright_file().encode(), 0o644)}
    for name in ("proxyd", "proxyctl"):
        with open(os.path.join(programs, name), "rb") as file:
            found[name] = (file.read(), 0o755)
    names = [name for content in CONTENTS for name in files(content)]
    places = {name: name for name in names}
    for name in names:
        with open(source.path(name), "rb") as file:
            contents = file.read()
        if name.endswith(".md"):
            contents = links.rewritten(contents.decode(), name, name, places).encode()
        found[name] = (contents, 0o755 if os.access(source.path(name), os.X_OK) else 0o644)
    return found


def files(name):
    """Yields the files of the tarball that are in a folder of the repository, or are the file of this name."""
    if name.startswith(LEFT_OUT):
        return
    if not os.path.isdir(source.path(name)):
        yield name
        return
    for inside in sorted(os.listdir(source.path(name))):
        yield from files(f"{name}/{inside}")


def add(tar, name, contents, mode):
    """Adds a file that says nothing about the machine that the tarball was made on."""
    about = tarfile.TarInfo(name)
    about.size = len(contents)
    about.mode = mode
    about.mtime = source.epoch()
    about.uname = about.gname = "root"
    tar.addfile(about, io.BytesIO(contents))


def compressed(contents, compression):
    """Returns the contents in this compression, which says nothing about the time."""
    if compression == "xz":
        return lzma.compress(contents)
    return gzip.compress(contents, mtime=0) if compression == "gzip" else contents
