# shellcheck shell=bash
# What build-kernel, build-root and run share: where things are kept, and how a missing tool is said.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/segel/bluez-uml

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
fail() { say "$*"; exit 1; }

# need TOOL PACKAGE: the recipe never goes on without a tool.
need() { command -v "$1" >/dev/null || fail "$1 is missing: install Debian's package $2"; }

# A thing in the cache is named by the files it was made from, so a changed recipe makes a new thing.
recipe_hash() { (cd "$here" && cat -- "$@" | sha256sum | cut -c1-16); }
kernel_path() { echo "$cache/kernel-$(recipe_hash kernel.config kernel.patch build-kernel)"; }
root_path() { echo "$cache/root-$(recipe_hash build-root requirements.txt guest/init)"; }
