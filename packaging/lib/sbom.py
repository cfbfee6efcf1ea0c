"""What is linked into the programs, in CycloneDX' JSON, so that scanners find what a new advisory is about.

https://cyclonedx.org/docs/1.5/json/

It is made from the list by which the package tells licences, so that the two agree. It has no serial number, which would
be another one each time.
"""

import datetime
import json
import os

import crates
import source


def build(output):
    """Writes the list into the folder `output`."""
    path = os.path.join(output, f"proxyd-{source.manifest()['version']}.cdx.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document(), file, indent=2)
        file.write("\n")


def document():
    """Returns the list."""
    made = datetime.datetime.fromtimestamp(source.epoch(), datetime.UTC)
    [ours] = [crate for crate in crates.linked() if not crate.checksum]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(ours, "application"),
        },
        "components": [*(component(crate, "library") for crate in crates.dependencies()), standard_library()],
        "dependencies": [
            {"ref": reference(crate), "dependsOn": [reference(it) for it in needed]}
            for crate, needed in crates.edges()
        ],
    }


def component(crate, kind):
    """Returns what the list says of a crate."""
    said = {
        "type": kind,
        "bom-ref": reference(crate),
        "name": crate.name,
        "version": crate.version,
        "licenses": [{"expression": crate.licence}],
        "purl": reference(crate),
    }
    if crate.checksum:
        said["hashes"] = [{"alg": "SHA-256", "content": crate.checksum}]
    if crate.repository:
        said["externalReferences"] = [{"type": "vcs", "url": crate.repository}]
    return said


def standard_library():
    """Returns what the list says of the standard library, which comes with the compiler and is linked like a crate."""
    return {
        "type": "library",
        "bom-ref": "rust-std",
        "name": "rust-std",
        "version": crates.compiler(),
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }


def reference(crate):
    """Returns the package URL of a crate."""
    return f"pkg:cargo/{crate.name}@{crate.version.replace('+', '%2B')}"
