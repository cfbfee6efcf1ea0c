"""The crates that are linked into the programs."""

import functools
import json
import os
import re
from typing import NamedTuple

import source


class Crate(NamedTuple):
    """A crate in one version."""

    name: str
    version: str
    # An SPDX expression.
    licence: str
    authors: list
    # Where its source is on this machine.
    folder: str
    # Where its source is for everybody, or None.
    repository: str
    # The SHA-256 of its archive, in hexadecimal digits; None for proxyd itself.
    checksum: str


@functools.cache
def linked():
    """Returns proxyd and all crates that are linked into it, by name. What only builds or tests it is not among them."""
    edges = ["--edges", "normal,no-proc-macro", "--no-dedupe", "--prefix", "none", "--format", "{p}"]
    tree = source.output("cargo", "tree", "--locked", *edges)
    names = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    known = {(package["name"], "v" + package["version"]): package for package in metadata()["packages"]}
    return [crate(known[name]) for name in sorted(names)]


def dependencies():
    """Returns the crates that are linked into proxyd, without itself."""
    return [crate for crate in linked() if crate.checksum]


@functools.cache
def host():
    """Returns the target triple of this machine's compiler."""
    return re.search(r"^host: (.*)$", source.output("rustc", "--verbose", "--version"), re.MULTILINE)[1]


@functools.cache
def compiler():
    """Returns the version of this machine's compiler, which is that of the standard library."""
    return source.output("rustc", "--version").split()[1]


def edges():
    """Yields each linked crate, and the linked crates that it needs itself."""
    nodes = {node["id"]: node for node in metadata()["resolve"]["nodes"]}
    names = {package["id"]: (package["name"], package["version"]) for package in metadata()["packages"]}
    by_name = {(crate.name, crate.version): crate for crate in linked()}
    ids = {name: id for id, name in names.items()}
    for name, crate in by_name.items():
        normal = [it["pkg"] for it in nodes[ids[name]]["deps"] if any(not kind["kind"] for kind in it["dep_kinds"])]
        yield crate, [by_name[name] for name in sorted(names[id] for id in normal) if name in by_name]


@functools.cache
def metadata():
    """Returns what cargo knows of all packages that are used on this machine, and who needs which of them."""
    only = ["--format-version", "1", "--filter-platform", host()]
    return json.loads(source.output("cargo", "metadata", "--locked", *only))


def crate(package):
    """Returns the crate that cargo tells of."""
    name, version = package["name"], package["version"]
    return Crate(
        name,
        version,
        # The slash is how OR was written once.
        package["license"].replace("/", " OR "),
        package["authors"],
        os.path.dirname(package["manifest_path"]),
        package["repository"],
        source.lock()[name, version].get("checksum"),
    )
