#!/usr/bin/env python3
"""Prints THIRD-PARTY.txt: the licence texts and notices of every crate that is compiled into the shipped programs.

The texts are those that the crates bring, read from cargo's own copies; equal ones are printed once. Not cargo-about, because
every build of the images needs this file: cargo-about compiles for minutes, and leaves out the NOTICE files of crates.
`cargo deny` decides which licences may enter at all.
"""

import json
import pathlib
import re
import subprocess
import sys

PROGRAMS = ("functiongraph-operator", "functiongraph-emulator")
# What the images are built for.
TARGETS = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
TEXT = re.compile(r"(licen[cs]e|copying|notice|copyright|unlicense)", re.IGNORECASE)
CODE = {".rs", ".toml", ".json", ".py", ".sh"}


def crates(target):
    """Everything that the programs depend on, but for tests and for building."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    edges = {
        node["id"]: [
            dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])
        ]
        for node in metadata["resolve"]["nodes"]
    }
    todo = [package["id"] for package in metadata["packages"] if package["name"] in PROGRAMS]
    seen = set()
    while todo:
        crate = todo.pop()
        if crate not in seen:
            seen.add(crate)
            todo.extend(edges[crate])
    return {crate: packages[crate] for crate in seen if packages[crate]["source"]}


def texts(package):
    """The licences and notices that lie in the crate's own folder."""
    folder = pathlib.Path(package["manifest_path"]).parent
    named = [folder / package["license_file"]] if package["license_file"] else []
    found = {path for path in folder.iterdir() if TEXT.match(path.name) and path.suffix not in CODE}
    found |= {path for path in folder.glob("LICENSES/*")}
    files = sorted({path for path in found.union(named) if path.is_file()})
    return [re.sub(r"[ \t\r]+\n", "\n", path.read_text(errors="replace")).strip() for path in files]


def main():
    every = {}
    for target in TARGETS:
        every.update(crates(target))
    packages = sorted(every.values(), key=lambda package: (package["name"], package["version"]))
    apache = pathlib.Path("LICENSE").read_text().strip()

    by_text, lacking = {apache: []}, []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        own = texts(package)
        # Of several licences to choose from, the one that needs no text of the crate's own.
        if not own and "Apache-2.0" in (package["license"] or ""):
            own = [apache]
        if not own:
            lacking.append(package)
        for text in own:
            by_text.setdefault(text, []).append(name)

    print("functiongraph-operator and functiongraph-emulator are licensed under Apache-2.0, see LICENSE.")
    print("They contain the crates below, under the licences that stand behind them.\n")
    print("Made by `make notices`. Do not edit.\n")
    for package in packages:
        print(f"  {package['name']} {package['version']}: {package['license'] or 'see below'}")
    for package in lacking:
        authors = ", ".join(package["authors"]) or "its authors"
        print(f"\n{package['name']} brings no text of its licence ({package['license']}); copyright {authors},")
        print(f"{package['repository'] or package['homepage'] or 'https://crates.io/crates/' + package['name']}")
    for text, names in by_text.items():
        if names:
            print("\n" + "=" * 80 + "\n" + ", ".join(names) + "\n" + "-" * 80 + "\n" + text)
    if lacking:
        print("without a text: " + ", ".join(f"{p['name']} ({p['license']})" for p in lacking), file=sys.stderr)


if __name__ == "__main__":
    main()
