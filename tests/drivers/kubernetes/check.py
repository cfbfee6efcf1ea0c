"""Checks files against the published schemas: those of Kubernetes of the version $1, and those of cert-manager's Certificate.

Keys that a schema does not have are an error too. Prints what each file is, as JSON.
"""

import json
import sys

import kubernetes_validate
import yaml
from cloudcoil.models.cert_manager import v1


def check(document, version):
    if document["apiVersion"].startswith("cert-manager.io/"):
        known = v1.Certificate.model_validate(document)
        # What it does not know it leaves out.
        assert known.model_dump(by_alias=True, exclude_unset=True, mode="json") == document
    else:
        kubernetes_validate.validate(document, version, strict=True)


def main():
    version, *files = sys.argv[1:]
    documents = {}
    for file in files:
        with open(file, encoding="utf-8") as text:
            document = yaml.safe_load(text)
        try:
            check(document, version)
        except Exception as error:
            sys.exit(f"{file}: {type(error).__name__}: {error}")
        documents[document["kind"]] = document
    print(json.dumps(documents))


main()
