#!/usr/bin/env python3
"""Fails if a link in a folder of HTML leads to a file or a heading that is not there.

    tools/docs-links.py FOLDER

Links to other sites are not followed: a build that needs the network fails for reasons of others.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.update(filter(None, [attributes.get("id"), attributes.get("name")]))
        link = attributes.get("href" if tag in ("a", "link") else "src")
        if link:
            self.links.append(link)


def main(folder):
    root = Path(folder).resolve()
    # The page for all chapters has the links of each of them, from another folder.
    pages = {path: Page(path) for path in root.rglob("*.html") if path.name not in ("print.html", "404.html", "toc.html")}
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or (not parts.path and not parts.fragment):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_relative_to(root) or not target.exists():
                wrong.append(f"{path.relative_to(root)}: {link} is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                wrong.append(f"{path.relative_to(root)}: {link} has no such heading")
    checked = sum(len(page.links) for page in pages.values())
    if wrong or checked < 100:
        sys.exit("\n".join(sorted(set(wrong))) or f"only {checked} links found in {folder}")
    print(f"{len(pages)} pages, {checked} links: every one leads somewhere. {root / 'index.html'}")


main(*sys.argv[1:])
