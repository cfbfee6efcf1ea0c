"""Links and paths in Markdown texts, which lead elsewhere once the texts are installed."""

import os
import re

# An image is a link behind an exclamation mark.
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")

# A file or folder that texts and commands name.
NAME = re.compile(r"(?<![\w./-])packaging/[\w./-]*[\w/]")


def rewritten(text, name, target, places):
    """Returns the text of the repository's file `name` as it is to be at `target` in the package.

    A link to a file that the package has leads to where that is, and one to a folder to where all files of that folder are.
    Other links within the repository become plain text: what they lead to is in no package.
    """

    def replaced(link):
        to, mark, heading = link["target"].partition("#")
        if not to or re.match(r"[a-z]+:", to):
            return link[0]
        place = place_of(os.path.normpath(os.path.join(os.path.dirname(name), to)), places)
        if place is None:
            return link["text"]
        return f"{link['image']}[{link['text']}]({os.path.relpath(place, os.path.dirname(target))}{mark}{heading})"

    return LINK.sub(replaced, text)


def renamed(text, places):
    """Returns the text with the paths of installed files in the place of those that the repository has them at."""

    def replaced(name):
        place = place_of(os.path.normpath(name[0]), places)
        return name[0] if place is None else f"/{place}"

    return NAME.sub(replaced, text)


def place_of(name, places):
    """Returns where the package has a file or folder of the repository, or None."""
    if name in places:
        return places[name]
    folders = {os.path.dirname(place) for source, place in places.items() if source.startswith(name + "/")}
    return folders.pop() if len(folders) == 1 else None
