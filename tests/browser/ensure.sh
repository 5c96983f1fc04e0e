#!/bin/sh
# A Chromium and Chinese fonts for the browser tests. As root they are installed; else it says which command to run.
set -eu
browser=$(command -v chromium || command -v chromium-browser || true)
fonts=$(fc-list :lang=zh 2>/dev/null | head -n 1 || true)
[ -n "$browser" ] && [ -n "$fonts" ] && exit 0
command="apt-get install -y --no-install-recommends chromium fonts-noto-cjk"
if [ "$(id -u)" != 0 ]; then
    echo "The browser tests need Chromium and Chinese fonts. Run: sudo $command" >&2
    exit 1
fi
echo "installing Chromium and fonts (once)"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
$command -qq >/dev/null
