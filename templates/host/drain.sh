#!/bin/sh
# Lets the runner of a host finish its jobs and takes it off the platform. Run before the host goes; running it again
# is safe. The last line is JSON: {"drained":…,"unregistered":"runner|manager|gone|no","detail":"…"}; the exit code is 0.
# Jobs that are not done in time go on and nothing is unregistered; 0 seconds abort them.
AGENT=@@AGENT@@
SECONDS_TO_WAIT=@@DRAIN_SECONDS@@
# Everything below this folder; not empty only in tests.
ROOT=''
CONFIG=$ROOT/srv/dataops-runner-$AGENT/config
STATE=$ROOT/var/lib/dataops-infra

answer() {
    printf '{"drained":%s,"unregistered":"%s","detail":"%s"}\n' "$drained" "$1" \
        "$(printf '%s' "$2" | tr '\012\042\134' '   ' | tr -dc '[:print:]' | sed -E 's/(gl[a-z]+-|GR1348941)[A-Za-z0-9_.-]{8,}/[masked]/g' | tail -c 900)"
    exit 0
}

# FOLDER
has_token() { grep -Eq '^[[:space:]]*token[[:space:]]*=[[:space:]]*["'\''].' "$1/config.toml" 2>/dev/null; }

# FOLDER WORDS...: the runner in a throw-away container.
runner() {
    folder=$1
    shift
    timeout 120 docker run --rm --env-file "$STATE/env" -v "$folder:/etc/gitlab-runner" "$image" "$@" 2>&1
}

# Or it would start the runner again.
rm -f "$STATE/stopped"
timeout 60 systemctl disable --now dataops-infra-reboot-window.timer dataops-infra-reboot-window.service >/dev/null 2>&1

drained=true
detail=
waited=
if ! timeout 60 docker info >/dev/null 2>&1; then
    ! has_token "$CONFIG" || drained=false
    answer no 'Docker does not answer, so nothing could be asked to stop'
fi

image=$(docker inspect -f '{{.Image}}' "$AGENT" 2>/dev/null)
if [ -z "$image" ]; then
    image=$(cat "$STATE/image" 2>/dev/null)
    detail='there is no container of the runner; '
fi
# The second one is of an upgrade that was not finished. All are asked first: their jobs finish at the same time.
for name in "$AGENT" "$AGENT-next"; do
    [ -n "$(docker inspect -f '{{.Image}}' "$name" 2>/dev/null)" ] || continue
    # Restart policy `always` would bring it back.
    docker update --restart=no "$name" >/dev/null
    [ "$(docker inspect -f '{{.State.Running}}' "$name")" = true ] || continue
    if [ "$SECONDS_TO_WAIT" = 0 ]; then
        docker stop -t 60 "$name" >/dev/null
        detail="${detail}running jobs were aborted; "
    else
        # SIGQUIT: no new jobs, the running ones end; SIGTERM would abort them.
        docker kill --signal=QUIT "$name" >/dev/null
    fi
    waited="$waited $name"
done
# Names of ours have no blanks.
# shellcheck disable=SC2086
if [ -n "$waited" ] && [ "$SECONDS_TO_WAIT" != 0 ] && ! timeout "$SECONDS_TO_WAIT" docker wait $waited >/dev/null; then
    drained=false
    answer no "jobs still run after $SECONDS_TO_WAIT s; the runner takes no new ones and is still registered"
fi

touch "$STATE/env"
was=
for folder in "$CONFIG" "$ROOT/srv/dataops-runner-$AGENT".[ab]/config "$ROOT/srv/dataops-runner-$AGENT".[ab]/trial; do
    has_token "$folder" || continue
    # A runner made on the platform stays there and only its manager goes; one that registered itself goes entirely.
    kind=runner
    ! grep -Eq '^[[:space:]]*token[[:space:]]*=[[:space:]]*["'\'']glrt-' "$folder/config.toml" || kind=manager
    [ -n "$image" ] || answer no "${detail}the image of the runner is not known"
    said=$(runner "$folder" unregister --all-runners)
    if has_token "$folder"; then
        # One that its owner has removed cannot be unregistered any more.
        runner "$folder" verify | grep -Eiq 'is removed|is not valid|forbidden' ||
            answer no "${detail}the platform did not unregister it: $(printf '%s' "$said" | tail -n 5)"
        kind=gone
    fi
    [ -n "$was" ] || was=$kind
done
if [ -n "$was" ]; then
    echo "$was" >"$STATE/unregistered"
    answer "$was" "$detail"
fi
# The answer of an earlier run may have been lost.
[ ! -s "$STATE/unregistered" ] || answer "$(cat "$STATE/unregistered")" "${detail}it was unregistered before"
answer no "${detail}no runner is registered on this host"
