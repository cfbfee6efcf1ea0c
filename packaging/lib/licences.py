"""The file `copyright` of the package, in Debian's machine-readable format (DEP 5)."""

import functools
import os
import re
from typing import NamedTuple

import crates
import source

# Debian's names of licences, where they are not those of SPDX.
NAMES = {"MIT": "Expat", "Apache-2.0 WITH LLVM-exception": "Apache-2.0 with LLVM exception"}

# The licence that every Debian system has.
COMMON = "On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0."

# That text within others, which need not be there a second time.
WHOLE = re.compile(r"^ *Apache License\n.*?END OF TERMS AND CONDITIONS$", re.DOTALL | re.MULTILINE)

# Where a crate has its licences.
FILES = re.compile(r"(un)?licen[sc]e|copying|copyright|notice", re.IGNORECASE)

# A line that says who has a copyright, and not what the words mean or how to write such a line.
HOLDER = re.compile(r"^\W*copyright\s+(?P<holder>(\(c\)|©|\d{4}).*)$", re.IGNORECASE)


class Entry(NamedTuple):
    """Who has the copyright of some files, and by which licence they may be used."""

    holders: tuple
    licence: str


@functools.cache
def copyright_file():
    """Returns the text of the file."""
    entries = {}
    texts = {}
    for crate in crates.dependencies():
        licence = licence_of(crate, texts)
        entries.setdefault(Entry(holders(crate), licence), []).append(f"{crate.name}-{crate.version}/*")
    ours = holders_in(source.read("LICENSE-MIT"))
    either = expression("MIT OR Apache-2.0", texts)
    return "\n".join(
        [
            field("Format", ["https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"])
            + "Upstream-Name: proxyd\n"
            + field("Source", ["The repository of proxyd, of which Cargo.toml is the manifest."])
            + field(
                "Comment",
                [
                    "",
                    "The first paragraph is about proxyd itself. Those after it are about the crates that are linked into its",
                    "programs, in the versions of Cargo.lock, and about the standard library of Rust.",
                ],
            ),
            paragraph(["*"], Entry(ours, either)),
            *(paragraph(files, entry) for entry, files in sorted(entries.items(), key=lambda it: it[1])),
            paragraph(["rust/library/*"], Entry(("The Rust Project contributors",), either)),
            *(field("License", [name, *texts[name].splitlines()]) for name in sorted(texts)),
        ]
    )


def paragraph(files, entry):
    """Returns the paragraph about some files."""
    return field("Files", files) + field("Copyright", entry.holders) + f"License: {entry.licence}\n"


def field(name, lines):
    """Returns a field of several lines."""
    first, *others = lines
    return f"{name}: {first}".rstrip() + "\n" + "".join(f" {line.rstrip() or '.'}\n" for line in others)


def licence_of(crate, texts):
    """Returns the licence of a crate in Debian's words, and adds its parts to `texts`."""
    if " AND " not in crate.licence:
        return expression(crate.licence, texts)
    # What holds for which of its files is written in its own file alone.
    name = f"{crate.name}-licence"
    body = "\n\n".join(WHOLE.sub(COMMON, text) for text in licence_files(crate))
    texts[name] = f"In words of SPDX: {crate.licence}. Its own text says what holds for which of its files:\n\n{body}"
    return name


def expression(licences, texts):
    """Returns a choice of licences in Debian's words, and adds them to `texts`."""
    names = [NAMES.get(name, name) for name in licences.split(" OR ")]
    for name in names:
        texts.setdefault(name, text_of(name))
    return " or ".join(names)


def text_of(name):
    """Returns the text of a licence without a line that says who has the copyright."""
    if name == "Expat":
        return source.read("LICENSE-MIT").split("\n\n", 2)[2].strip()
    if name == "Apache-2.0":
        return COMMON
    if name == NAMES["Apache-2.0 WITH LLVM-exception"]:
        return f"Apache-2.0, and:\n\n{text_in_file('LLVM-exception')}\n\n{COMMON}"
    return text_in_file(name)


def text_in_file(name):
    """Returns the text of a licence that the repository has a file of."""
    file = f"packaging/licences/{name}.txt"
    if not os.path.exists(source.path(file)):
        source.fail(f"a crate has the licence {name}, whose text is missing: {file}")
    return source.read(file).strip()


def holders(crate):
    """Returns who has the copyright of a crate, as its own files say, else as its manifest says."""
    told = {holder for text in licence_files(crate) for holder in holders_in(text)}
    return tuple(sorted(told)) or tuple(crate.authors) or (f"The authors of {crate.name}",)


def holders_in(text):
    """Returns the holders of the copyright that a text names."""
    found = (HOLDER.match(line) for line in text.splitlines())
    return tuple(line["holder"].rstrip(" */") for line in found if line and "[yyyy]" not in line["holder"])


def licence_files(crate):
    """Yields the texts of the files in which a crate has its licences."""
    for name in sorted(os.listdir(crate.folder)):
        path = os.path.join(crate.folder, name)
        if FILES.match(name) and os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                yield file.read().strip()
