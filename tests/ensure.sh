#!/bin/sh
# What the tests need from Debian. As root it is installed; else it says which command to run.
# Usage: tests/ensure.sh browser|prometheus ...
set -eu

missing=""
for need in "$@"; do
    case "$need" in
    browser)
        command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing="$missing chromium"
        [ -n "$(fc-list :lang=zh 2>/dev/null | head -n 1)" ] || missing="$missing fontconfig fonts-noto-cjk"
        ;;
    prometheus)
        { command -v prometheus && command -v promtool; } >/dev/null || missing="$missing prometheus"
        ;;
    *)
        echo "usage: $0 browser|prometheus ..." >&2
        exit 2
        ;;
    esac
done
[ -z "$missing" ] && exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" != 0 ]; then
    echo "The tests need more programs of Debian. Run: sudo $install" >&2
    exit 1
fi
echo "installing$missing (once)"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Debian starts a Prometheus of its own when it installs one; the tests start theirs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
$install -qq >/dev/null
