#!/bin/sh
# Lets the runner of a host finish its jobs and takes it off the platform. Run before the host goes; running it again
# is safe. The last line is JSON: {"drained":…,"unregistered":"runner|manager|no","detail":"…"}; the exit code is 0.
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

has_token() { grep -Eq '^[[:space:]]*token[[:space:]]*=[[:space:]]*["'\''].' "$CONFIG/config.toml" 2>/dev/null; }

# Or it would start the runner again.
rm -f "$STATE/stopped"
timeout 60 systemctl disable --now dataops-infra-reboot-window.timer dataops-infra-reboot-window.service >/dev/null 2>&1

drained=true
detail=
if ! timeout 60 docker info >/dev/null 2>&1; then
    ! has_token || drained=false
    answer no 'Docker does not answer, so nothing could be asked to stop'
fi

image=$(docker inspect -f '{{.Image}}' "$AGENT" 2>/dev/null)
if [ -n "$image" ]; then
    # Restart policy `always` would bring it back.
    docker update --restart=no "$AGENT" >/dev/null
    if [ "$(docker inspect -f '{{.State.Running}}' "$AGENT")" = true ]; then
        # SIGQUIT: no new jobs, the running ones end; SIGTERM would abort them.
        docker kill --signal=QUIT "$AGENT" >/dev/null
        if ! timeout "$SECONDS_TO_WAIT" docker wait "$AGENT" >/dev/null; then
            drained=false
            detail="jobs still ran after $SECONDS_TO_WAIT s and were aborted; "
            docker stop --time 60 "$AGENT" >/dev/null
        fi
    fi
else
    image=$(cat "$STATE/image" 2>/dev/null)
    detail='there is no container of the runner; '
fi

if ! has_token; then
    # The answer of an earlier run may have been lost.
    [ ! -s "$STATE/unregistered" ] || answer "$(cat "$STATE/unregistered")" "${detail}it was unregistered before"
    answer no "${detail}no runner is registered on this host"
fi
# A runner made on the platform stays there and only its manager goes; one that registered itself goes entirely.
kind=runner
! grep -Eq '^[[:space:]]*token[[:space:]]*=[[:space:]]*["'\'']glrt-' "$CONFIG/config.toml" || kind=manager
[ -n "$image" ] || answer no "${detail}the image of the runner is not known"
touch "$STATE/env"
if said=$(timeout 120 docker run --rm --env-file "$STATE/env" -v "$CONFIG:/etc/gitlab-runner" "$image" unregister --all-runners 2>&1) &&
    ! has_token; then
    echo "$kind" >"$STATE/unregistered"
    answer "$kind" "$detail"
fi
answer no "${detail}the platform did not unregister it: $(printf '%s' "$said" | tail -n 5)"
