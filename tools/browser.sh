#!/usr/bin/env bash
# Sees to it that a browser and its driver are there, for the test of the emulator's page: Debian's chromium, or any
# chromedriver in the PATH with the browser that it finds.
set -euo pipefail

command -v chromedriver >/dev/null && exit
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
if command -v apt-get >/dev/null; then
    echo "Installing chromium and chromium-driver: once, some 350 MB." >&2
    "${as_root[@]}" apt-get update -q >&2 &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium chromium-driver >&2 &&
        exit
fi
echo "chromedriver is missing. Debian: apt-get install chromium chromium-driver; else https://googlechromelabs.github.io/chrome-for-testing" >&2
exit 1
