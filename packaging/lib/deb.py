"""The Debian package."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile

import assets
import changelog
import licences
import source

SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def build(programs, revision, compression, output):
    """Builds the package out of the programs in a folder; returns its path in the folder `output`."""
    version = f"{source.manifest()['version']}-{revision}"
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        assets.install(root, programs)
        document(root, version)
        describe(root, version)
        age(root)
        path = os.path.join(output, f"proxyd_{version}_{architecture()}.deb")
        command = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", root, path]
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(source.epoch())}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return path


def document(root, version):
    """Adds what Debian wants to know of every package."""
    folder = "usr/share/doc/proxyd"
    assets.put(root, f"{folder}/copyright", licences.copyright_file().encode())
    assets.put(root, f"{folder}/changelog.Debian.gz", changelog.debian_changelog(version).encode())


def describe(root, version):
    """Adds what dpkg is told: the folder DEBIAN."""
    conffiles = metadata()["conf-files"]
    digests, size = sums(root, conffiles)
    about = os.path.join(root, "DEBIAN")
    assets.put(about, "control", control(root, version, size).encode())
    assets.put(about, "conffiles", "".join(f"{path}\n" for path in conffiles).encode())
    assets.put(about, "md5sums", digests.encode())
    for name in SCRIPTS:
        script = source.path(metadata()["maintainer-scripts"], name)
        if os.path.exists(script):
            shutil.copyfile(script, os.path.join(about, name))
            os.chmod(os.path.join(about, name), 0o755)


def metadata():
    """Returns what Cargo.toml says of the package."""
    return source.manifest()["metadata"]["deb"]


def control(root, version, size):
    """Returns the text of the file `control`."""
    package = source.manifest()
    lines = metadata()["extended-description"].strip().splitlines()
    programs = [asset.target for asset in assets.assets() if asset.target.startswith("usr/bin/")]
    fields = {
        "Package": package["name"],
        "Version": version,
        "Architecture": architecture(),
        "Maintainer": metadata()["maintainer"],
        "Installed-Size": size,
        "Depends": metadata()["depends"].replace("$auto", libraries(root, programs)),
        "Suggests": metadata()["suggests"],
        "Section": metadata()["section"],
        "Priority": metadata()["priority"],
        "Description": "\n ".join([package["description"], *lines]),
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def libraries(root, programs):
    """Returns the packages with the shared libraries that the programs need."""
    with tempfile.TemporaryDirectory() as folder:
        assets.put(folder, "debian/control", b"Source: proxyd\n\nPackage: proxyd\nArchitecture: any\n")
        paths = [os.path.join(root, program) for program in programs]
        found = source.output("dpkg-shlibdeps", "-O", *paths, folder=folder)
    return found.strip().removeprefix("shlibs:Depends=")


@functools.cache
def architecture():
    """Returns Debian's name of this machine's architecture."""
    return source.output("dpkg", "--print-architecture").strip()


def sums(root, conffiles):
    """Returns the contents of the file md5sums, and the size of all files in KiB.

    Configuration files are not among the sums: they are there to be changed.
    """
    lines, size = [], 0
    for folder, _, names in sorted(os.walk(root)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, root)
            size += -(-os.path.getsize(path) // 1024)
            if f"/{inside}" not in conffiles:
                with open(path, "rb") as file:
                    lines.append(f"{hashlib.file_digest(file, 'md5').hexdigest()}  {inside}\n")
    return "".join(lines), size


def age(root):
    """Gives all that is in a folder the time of the source."""
    for folder, _, names in os.walk(root):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            os.utime(path, (source.epoch(), source.epoch()))
