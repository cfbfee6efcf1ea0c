"""The files of a release, made of built programs."""

import hashlib
import os

import deb
import sbom
import source
import tarball

SUMS = "SHA256SUMS"


def begin(folder):
    """Makes the folder of a release, in which nothing else may be."""
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        source.fail(f"{folder} is not empty")


def publish(programs, compression, folder):
    """Puts the files of a release into an empty folder."""
    deb.build(programs, "1", compression, folder)
    tarball.build(programs, compression, folder)
    sbom.build(folder)
    lines = [f"{digest(os.path.join(folder, name))}  {name}\n" for name in sorted(os.listdir(folder))]
    with open(os.path.join(folder, SUMS), "w", encoding="utf-8") as file:
        file.writelines(lines)


def digest(path):
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
