#!/usr/bin/env bash
# Make the machine ready to run, test and build: system packages, .venv, Python dependencies.
# Does nothing when all is in place: a stamp in .venv records the pyproject.toml and constraints.txt it was made from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

system_packages=(
    xvfb xauth libgl1-mesa-dri libegl1 libopengl0 libxcb-cursor0 libxkbcommon-x11-0 libxcb-icccm4 libxcb-image0
    libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libdbus-1-3 libfontconfig1
)

fail() {
    echo "setup: $*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed, found $(python3 --version 2>&1 || true); install one or set PYTHON."
}

# Fill the array `missing` with the system packages that are not installed.
find_missing() {
    local package
    missing=()
    for package in "${system_packages[@]}"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    if [ ! -x .venv/bin/python ] && ! "$python" -c 'import ensurepip' 2>/dev/null; then
        missing+=(python3-venv)
    fi
}

install_system_packages() {
    if ! command -v dpkg-query >/dev/null; then
        if [ "$(uname)" = Linux ] && [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && ! command -v xvfb-run >/dev/null; then
            fail "there is no display and no xvfb-run; install your system's packages for: ${system_packages[*]}"
        fi
        return
    fi
    find_missing
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        fail "these system packages are missing; install them and try again: ${missing[*]}"
    fi
    echo "setup: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_python_packages() {
    local stamp=.venv/setup-stamp wanted
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    wanted=$(.venv/bin/python - pyproject.toml constraints.txt <<'PYTHON'
import hashlib
import pathlib
import sys

digest = hashlib.sha256(sys.prefix.encode())
for name in sys.argv[1:]:
    digest.update(pathlib.Path(name).read_bytes())
print(digest.hexdigest())
PYTHON
    )
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    echo "setup: installing Python packages into .venv"
    # The build backend goes in first, so that a later change of pyproject.toml needs no network.
    .venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt hatchling editables
    .venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation \
        -e '.[all,dev]'
    echo "$wanted" >"$stamp"
}

python=$(find_python)
install_system_packages
install_python_packages
