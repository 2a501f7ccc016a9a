#!/bin/sh
# Run a command with a display: the one at hand, otherwise a virtual one (Linux).
set -eu
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || [ "$(uname)" != Linux ]; then
    exec "$@"
fi
export VOXELSMITH_VIRTUAL_DISPLAY=1
exec xvfb-run -a -s "-screen 0 1600x1000x24" "$@"
