# What `test` and `benches/run` share: sourced from the root of the repository.

say() { printf '%s\n' "$*" >&2; }

# Without a part, its tests say "skipped" and why; in CI nothing may be missing.
missing() {
    if [ "${CI:-}" = true ]; then
        say "error: $*"
        exit 1
    fi
    say "note: $*; the tests that need it are skipped"
}

# Debian packages, only where the program they bring is missing, and only as root.
need() { # PACKAGE COMMAND...
    local package=$1
    shift
    "$@" >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $package"
        if [ -z "${updated:-}" ]; then
            apt-get -qq update >&2 || true
            updated=yes
        fi
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$package" >&2 || true
    fi
    "$@" >/dev/null 2>&1
}

# The Python side of the bench: an AWS emulator and the queueing peers, pinned with hashes for CPython 3.11.
set_up_python() {
    local requirements=tools/requirements.txt stamp=.venv/.requirements.sha256 sum python
    [ -f "$requirements" ] || return 0
    sum=$(sha256sum "$requirements" | cut -d ' ' -f 1)
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then
        return 0
    fi
    python=$(command -v python3.11 || command -v python3 || true)
    if [ -z "$python" ] || [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != 3.11 ]; then
        missing "there is no Python 3.11, for which $requirements is pinned"
    elif ! need python3-venv "$python" -c 'import ensurepip, venv'; then
        missing "this Python cannot make virtual environments (Debian: python3-venv)"
    else
        say "setting up .venv from $requirements"
        rm -rf .venv
        if "$python" -m venv .venv &&
            .venv/bin/pip install --quiet --require-hashes --only-binary :all: -r "$requirements" >&2; then
            printf '%s\n' "$sum" >"$stamp"
        else
            rm -rf .venv
            missing "the packages of $requirements could not be installed"
        fi
    fi
}

# The programs of the cluster that stands in for EKS; minutes the first time on a machine, and none after.
set_up_cluster() {
    local said
    said=$(tools/k8sbench/build) || missing "${said##*$'\n'}"
}
