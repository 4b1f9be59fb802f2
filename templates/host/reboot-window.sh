#!/bin/bash
# Restarts the machine or updates Docker while no job runs. A timer starts it each night; it acts on Sundays, and on the
# nights after one on which jobs did not end in time. `now` acts at once. Nothing to do is the usual case.
#
# The runners get SIGQUIT: they take no new jobs, and those that run go on, for an hour at most. Then, whatever happens,
# the disk guard starts them again: it knows them from the file $STOPPED, and that nobody is here any more from the lock.
set -u
# Everything below this folder; there is one only in tests.
ROOT=${ROOT:-}
STATE=$ROOT/var/lib/dataops-infra
STOPPED=$STATE/stopped
POSTPONED=$STATE/reboot-postponed
LIMIT=3600
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

say() {
    echo "$*"
    echo "$(date -u +%FT%TZ) reboot window: $*" >>"$ROOT/var/log/dataops-infra.log"
}

[ -e "$STATE/bootstrapped" ] || exit 0
[ "${1:-}" = now ] || [ "$(date -u +%u)" = 7 ] || [ -e "$POSTPONED" ] || exit 0
exec 9>"$ROOT/run/dataops-infra-reboot-window"
flock -n 9 || exit 0

apt() { timeout 1200 apt-get -qy -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 "$@" 9>&-; }

# Packages of the engine with something newer of the same major version: another one is for people to decide.
newer() {
    local name has best
    apt update >/dev/null || return
    for name in docker-ce docker-ce-cli containerd.io docker.io containerd runc; do
        has=$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$name" 2>/dev/null)
        [[ $has == 'installed '* ]] || continue
        has=${has#* }
        best=$(apt-cache madison "$name" | awk -F ' *[|] *' -v major="${has%%.*}." 'index($2, major) == 1 { print $2; exit }')
        [ -z "$best" ] || ! dpkg --compare-versions "$best" gt "$has" || echo "$name=$best"
    done
}

ask() { timeout 60 docker "$@"; }

# Containers that serve the platform: those for one command have no restart policy.
runners() {
    local name
    for name in $(ask ps --filter volume=/etc/gitlab-runner --format '{{.Names}}'); do
        [ "$(ask inspect -f '{{.HostConfig.RestartPolicy.Name}}' "$name")" != always ] || echo "$name"
    done
}

reboot=
[ ! -e "$ROOT/run/reboot-required" ] || reboot=yes
mapfile -t packages < <(newer)
if [ -z "$reboot${packages[*]}" ]; then
    rm -f "$POSTPONED"
    exit 0
fi
say "needed: ${reboot:+a restart of the machine, }${packages[*]}"
if ! ask info >/dev/null 2>&1; then
    say 'Docker does not answer, so nobody knows what runs'
    exit 0
fi
# Also those that the guard has stopped.
mapfile -t names < <({ runners; cat "$STOPPED"; } 2>/dev/null | sort -u)
if [ ${#names[@]} != 0 ]; then
    printf '%s\n' "${names[@]}" >"$STOPPED"
    # `always` would bring it back, at the latest when Docker is restarted.
    ask update --restart=no "${names[@]}" >/dev/null
    ask kill --signal=QUIT "${names[@]}" >/dev/null
    # 9>&-: what outlives us must not hold the lock.
    if ! timeout "$LIMIT" docker wait "${names[@]}" >/dev/null 9>&-; then
        touch "$POSTPONED"
        say "jobs still run after $LIMIT s, so the next night is tried"
        exit 0
    fi
fi
rm -f "$POSTPONED"
if [ ${#packages[@]} != 0 ]; then
    apt install --only-upgrade -o Dpkg::Options::=--force-confold "${packages[@]}" ||
        say 'the packages could not be installed'
    [ -n "$reboot" ] || timeout 300 systemctl restart docker || say 'Docker does not start'
fi
# An engine that does not come back gets the restart too.
[ -n "$reboot" ] || ask info >/dev/null 2>&1 || reboot=yes
if [ -n "$reboot" ]; then
    # From now on the engine brings it back, and nobody else before the machine is down.
    [ ${#names[@]} = 0 ] || ask update --restart=always "${names[@]}" >/dev/null
    rm -f "$STOPPED"
    say 'restarting the machine'
    systemctl reboot && sleep 600
    printf '%s\n' "${names[@]}" >"$STOPPED"
    say 'the machine did not restart'
fi
