"""Debian's changelog of the package, whose changes are those of proxyd's own."""

import email.utils

import source


def debian_changelog(version):
    """Returns the text of `changelog.Debian` for a package of this version."""
    metadata = source.manifest()["metadata"]["deb"]
    date = email.utils.formatdate(source.epoch())
    return (
        f"proxyd ({version}) {metadata['distribution']}; urgency=medium\n\n"
        "  * What has changed is in changelog.gz, beside this file.\n\n"
        f" -- {metadata['maintainer']}  {date}\n"
    )
