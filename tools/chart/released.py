#!/usr/bin/env python3
"""Prints what a released chart adds to its Chart.yaml, for Artifact Hub above all.

    tools/release.sh notes | tools/chart/released.py VERSION IMAGE URL >> Chart.yaml

Annotations are the last part of Chart.yaml, so the first lines continue them. Every text is written as JSON, which is YAML.
"""

import json
import sys


def changes(notes):
    """The items of a section of the changelog, each on one line and of the kind that its heading names."""
    kind, found = "changed", []
    for line in notes.splitlines():
        if line.startswith("### "):
            kind = line[4:].strip().lower()
        elif line.startswith("- "):
            found.append({"kind": kind, "description": line[2:]})
        elif line.startswith("  ") and found:
            found[-1]["description"] += " " + line.strip()
    return found


def main(version, image, url):
    tree = f"{url}/blob/v{version}"
    annotations = {
        "images": [{"name": "operator", "image": image}],
        "links": [
            {"name": "source", "url": url},
            {"name": "documentation", "url": f"{tree}/README.md"},
            {"name": "changelog", "url": f"{tree}/CHANGELOG.md"},
        ],
        "changes": changes(sys.stdin.read()),
        "prerelease": "true" if "-" in version else "false",
    }
    for name, value in annotations.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        print(f"  artifacthub.io/{name}: {json.dumps(text, ensure_ascii=False)}")
    print(f"home: {json.dumps(url)}")
    print(f"sources: {json.dumps([url])}")
    print(f"icon: {json.dumps(f'{url}/raw/v{version}/docs/icon.svg')}")


main(*sys.argv[1:])
