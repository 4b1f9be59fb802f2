#!/bin/bash
# Makes a DataOps Runner host out of an Ubuntu machine. Run once by cloud-init; running it again is safe.
# What stands in holes is filled in and quoted by `src/domain/host_script.rs`, which explains the stages;
# the renderer leaves out lines of comments. No secret stands here: they are read with the instance role.
set -Eeuo pipefail

DEPLOYMENT=@@DEPLOYMENT@@
GENERATION=@@GENERATION@@
REGION=@@REGION@@
DNS_SUFFIX=@@DNS_SUFFIX@@
REPORT=@@REPORT@@
URL=@@URL@@
AGENT=@@AGENT@@
TAG=@@TAG@@
IMAGE=@@IMAGE@@
JOB_IMAGE=@@JOB_IMAGE@@
SETTINGS=@@SETTINGS@@
REGISTRY=@@REGISTRY@@
PACKAGES=@@PACKAGES@@
MIRROR=@@MIRROR@@
PROXY=@@PROXY@@
CA=@@CA@@
DAEMON_JSON=@@DAEMON_JSON@@
AGENT_JSON=@@AGENT_JSON@@
# Everything below this folder; not empty only in tests.
ROOT=''
CONFIG=$ROOT/srv/dataops-runner-$AGENT/config
# cloud-init sets neither; `docker login` writes below it.
HOME=$ROOT/root
export GENERATION REPORT URL SETTINGS REGISTRY CONFIG HOME DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
# What the runner's container gets, and this script too.
ENVIRONMENT=(@@ENVIRONMENT@@)
# More options for `docker run` of the service.
OPTIONS=(@@OPTIONS@@)
# Region, service, operation and body of the calls that read a secret; the second may be empty.
TOKEN_CALL=(@@TOKEN_CALL@@)
REGISTRY_CALL=(@@REGISTRY_CALL@@)

LOG=$ROOT/var/log/dataops-infra.log
STATE=$ROOT/var/lib/dataops-infra
RUN=$ROOT/run/dataops-infra
IMDS=http://169.254.169.254/latest
WANT=boot
NOTES=
# Values to mask, one a line. Not exported: only the masking program gets them.
SECRETS=

say() { echo "$(date -u +%FT%TZ) $*"; }
# Also to the console, for whom the report does not reach.
aloud() {
    say "$*"
    say "$*" >&3
}
die() {
    say "error: $*"
    exit 1
}

# COMMAND...: until it succeeds, five times at most. Arguments are not logged: they may be secrets.
retry() {
    local pause
    for pause in 5 10 20 40 0; do
        "$@" && return
        say "failed: $1"
        sleep "$pause"
    done
    return 1
}

# FILE, content on stdin: 0 if the file was changed, 1 if it was the same.
put() {
    mkdir -p "${1%/*}"
    cat >"$1.new"
    if cmp -s "$1.new" "$1"; then
        rm -f "$1.new"
        return 1
    fi
    mv -f "$1.new" "$1"
}

helper() { SECRETS=$SECRETS PYTHONIOENCODING=utf8:replace python3 "$RUN/host.py" "$@"; }

# PATH: asks the instance metadata service, version 2. Its token goes through stdin.
imds() {
    local token
    token=$(curl -sf --noproxy '*' --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$IMDS/api/token") &&
        printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" |
        curl -sf --noproxy '*' --max-time 5 --config - "$IMDS/meta-data/$1"
}

# REGION SERVICE OPERATION BODY: calls AWS as the instance role; the answer on stdout, what goes wrong in the log.
# All failures are tried again: a new role takes a while until it is known everywhere.
aws_call() {
    local pause role answer path=iam/security-credentials/
    for pause in 2 4 8 15 30 0; do
        answer=
        if role=$(imds "$path") &&
            answer=$(imds "$path$role" | helper credentials |
                curl -sS --fail-with-body --config - --connect-timeout 10 --max-time 30 --aws-sigv4 "aws:amz:$1:$2" \
                    -H "X-Amz-Target: $3" -H 'Content-Type: application/x-amz-json-1.1' --data-raw "$4" \
                    "https://$2.$1.$DNS_SUFFIX/" 2>>"$LOG"); then
            printf '%s' "$answer"
            return
        fi
        # Half of an answer may hold the secret: only an error's text is logged.
        [[ $answer == *'"__type"'* ]] || answer='no answer, or no instance role'
        say "$3: $answer" >>"$LOG"
        sleep "$pause"
    done
    return 1
}

# STAGE DETAIL [FAILED_STAGE]: one that cannot be written stops nothing; `up` then sees silence, the console the stage.
report() {
    local body
    aloud "stage $1 ${3:-}"
    if ! body=$(DETAIL=$2 helper report "$1" "${3:-}") ||
        ! aws_call "$REGION" ssm AmazonSSM.PutParameter "$body" >/dev/null; then
        aloud 'the report could not be written'
    fi
}

finish() {
    local code=$? tail
    trap - EXIT ERR
    set +e
    if [ "$code" != 0 ]; then
        tail=$(tail -n 15 "$LOG" | helper masked | tail -c 4000)
        echo "$tail" >&3
        report failed "$tail" "$WANT"
    fi
    rm -rf "$RUN"
    exit "$code"
}

start() {
    # Only these are for root's eyes alone; apt reads its lists as another user.
    (umask 077 && mkdir -p "$STATE" "${LOG%/*}" "$CONFIG/certs" && touch "$LOG")
    exec 3>&1 >>"$LOG" 2>&1 </dev/null 9>"$STATE/lock"
    flock 9
    umask 022
    (umask 077 && mkdir -p "$RUN")
    rm -f "$STATE/bootstrapped"
    cat >"$RUN/host.py" <<'PYTHON'
@@HELPER@@
PYTHON
    trap finish EXIT
    trap 'say "line $LINENO ended with $?: ${BASH_COMMAND%%$'"'\n'"'*}" >&2' ERR
    trap 'exit 143' HUP INT TERM
    say "deployment $DEPLOYMENT, generation $GENERATION"
    printf '%s\n' "$IMAGE" >"$STATE/image"
    printf '%s\n' "${ENVIRONMENT[@]}" >"$STATE/env"
    export INSTANCE='' RUNNER_ID='' "${ENVIRONMENT[@]}"
    if [ -n "$CA" ]; then
        ! put "$ROOT/usr/local/share/ca-certificates/dataops-infra.crt" <<<"$CA" || update-ca-certificates
        put "$CONFIG/certs/ca.crt" <<<"$CA" || true
    fi
    INSTANCE=$(retry imds instance-id | tail -n 1)
}

apt() {
    retry timeout 1200 apt-get -qy -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
        -o Acquire::https::Timeout=30 "$@"
}

fetch() { retry curl -fsSL --create-dirs --connect-timeout 15 --max-time "$1" -o "$2" "$3"; }

# Security updates go on, but neither restart the machine nor Docker under running jobs.
upgrades() {
    local file=$ROOT/etc/apt/apt.conf.d/60dataops-infra
    {
        echo 'Unattended-Upgrade::Automatic-Reboot "false";'
        echo 'Unattended-Upgrade::Package-Blacklist { "docker"; "containerd"; "runc"; };'
        [ -z "$PROXY" ] || printf 'Acquire::%s::Proxy "%s";\n' http "$PROXY" https "$PROXY"
    } | put "$file" || true
}

install_docker() {
    local packages=(docker.io) ID='' VERSION_CODENAME=''
    local lists=$ROOT/etc/apt/sources.list.d key=$ROOT/etc/apt/keyrings/dataops-infra.asc base=$MIRROR
    # shellcheck disable=SC1091
    . "$ROOT/etc/os-release"
    if [ "$PACKAGES" = docker ]; then
        base=${base:-https://download.docker.com/linux/$ID}
        fetch 60 "$key" "$base/gpg"
        echo "deb [signed-by=$key] $base $VERSION_CODENAME stable" >"$lists/dataops-infra.list"
        packages=(docker-ce docker-ce-cli containerd.io)
    elif [ -n "$base" ]; then
        # A mirror of Ubuntu's. The archive of the image would be waited for in vain.
        [ ! -e "$lists/$ID.sources" ] || mv "$lists/$ID.sources" "$lists/$ID.sources.off"
        for suite in '' -updates -security; do
            echo "deb $base $VERSION_CODENAME$suite main universe"
        done >"$lists/dataops-infra.list"
    fi
    apt update
    apt install "${packages[@]}"
}

docker_runs() { timeout 30 docker info >/dev/null 2>&1; }

docker_stage() {
    local changed=
    upgrades
    # Before the packages, which start the daemon.
    ! put "$ROOT/etc/docker/daemon.json" <<<"$DAEMON_JSON" || changed=yes
    if ! docker_runs; then
        install_docker
        changed=
    fi
    systemctl enable --now docker
    [ -z "$changed" ] || systemctl restart docker
    retry docker_runs
    ! id ubuntu >/dev/null 2>&1 || usermod -aG docker ubuntu
    docker version --format 'Docker {{.Server.Version}}, API from {{.Server.MinAPIVersion}}' || true
    mkdir -p "$ROOT/app" "$ROOT/agent_cache"
    # Never overwritten: what is encrypted with a lost salt is lost.
    (
        umask 077
        mkdir -p "$ROOT/secrets"
        cd "$ROOT/secrets"
        echo '{}' >.vault.yml
        head -c 32 /dev/urandom | sha256sum | head -c 64 >.vault.salt
        mv -n .vault.yml vault.yml
        mv -n .vault.salt vault.salt
        rm -f .vault.yml .vault.salt
    )
}

# ARGUMENTS...: the runner in a throw-away container; options of docker come first.
runner() {
    timeout 300 docker run --rm --env-file "$STATE/env" -v "$CONFIG:/etc/gitlab-runner" "$@" 2>&1 | helper masked
}

log_in() {
    printf '%s' "$2" | timeout 120 docker login --username "$1" --password-stdin ${3:+"$3"} 2>&1 | helper masked
}

pull() { timeout 1800 docker pull -q "$IMAGE"; }

register() {
    local name=REGISTRATION_TOKEN flags=(--tag-list="$TAG" --run-untagged=false --locked=false)
    # Tokens of runners made on the platform: tags and locks are set there, and these flags are an error.
    if [[ $1 == glrt-* ]]; then
        name=CI_SERVER_TOKEN
        flags=()
    fi
    (
        export "$name=$1"
        runner -e "$name" "$IMAGE" register --non-interactive --url="$URL" --executor=docker \
            --docker-image="$JOB_IMAGE" --description="$AGENT" "${flags[@]}"
    )
}

registered_stage() {
    local token found login
    token=$(aws_call "${TOKEN_CALL[@]}" | helper token)
    SECRETS+=$token$'\n'
    if [ ${#REGISTRY_CALL[@]} != 0 ]; then
        login=$(aws_call "${REGISTRY_CALL[@]}" | helper registry)
        mapfile -t login <<<"$login"
        SECRETS+=${login[1]}$'\n'
        retry log_in "${login[@]}"
    fi
    retry pull
    found=$(helper registered)
    if [ -z "$found" ]; then
        # Any answer will do. Registering is the one call that is not repeated blindly.
        retry curl -sS -o /dev/null --connect-timeout 15 --max-time 30 "$URL/"
        rm -f "$STATE/unregistered"
        if [[ $token == glrt-* ]]; then retry register "$token"; else register "$token"; fi
        found=$(helper registered)
        [ -n "$found" ] || die 'the runner wrote no token into config.toml'
    fi
    SECRETS+=${found#* }$'\n'
    RUNNER_ID=${found%% *}
    [[ $RUNNER_ID =~ ^[0-9]+$ ]] || RUNNER_ID=
    chmod 600 "$CONFIG/config.toml"
    helper settings
}

start_runner() {
    if docker container inspect "$AGENT" >/dev/null 2>&1; then
        docker update --restart always "$AGENT"
        docker start "$AGENT"
        return
    fi
    # For the images of jobs: the runner looks for the login in the home of its own container.
    [ ${#REGISTRY_CALL[@]} = 0 ] || OPTIONS+=(-v "$HOME/.docker:$HOME/.docker:ro")
    docker run -d --name "$AGENT" --restart always --env-file "$STATE/env" -v "$CONFIG:/etc/gitlab-runner" \
        -v /var/run/docker.sock:/var/run/docker.sock "${OPTIONS[@]}" "$IMAGE"
}

# Chained, because it is called as a condition, where `set -e` is off.
cloudwatch_agent() {
    local deb=$RUN/agent.deb base=$ROOT/opt/aws/amazon-cloudwatch-agent arch
    local ctl=$base/bin/amazon-cloudwatch-agent-ctl
    arch=$(dpkg --print-architecture) || return
    if [ ! -x "$ctl" ]; then
        fetch 300 "$deb" "https://amazoncloudwatch-agent-$REGION.s3.$REGION.$DNS_SUFFIX/ubuntu/$arch/latest/amazon-cloudwatch-agent.deb" &&
            dpkg -i -E "$deb" || return
    fi
    put "$base/etc/dataops-infra.json" <<<"$AGENT_JSON" || true
    if [ -n "$PROXY" ]; then
        printf '[proxy]\n  http_proxy = "%s"\n  https_proxy = "%s"\n  no_proxy = "%s"\n' "$PROXY" "$PROXY" "$NO_PROXY" |
            put "$base/etc/common-config.toml" || true
    fi
    timeout 120 "$ctl" -a fetch-config -m ec2 -s -c "file:$base/etc/dataops-infra.json"
}

# What the host does for itself later. Images and volumes are safe whenever it starts: it knows the runner's image.
disk_guard() {
    local unit=$ROOT/etc/systemd/system/dataops-infra-disk-guard
    put "$ROOT/usr/local/lib/dataops-infra/disk-guard.py" <<'PYTHON' || true
@@DISK_GUARD@@
PYTHON
    put "$unit.service" <<'UNIT' || true
@@DISK_GUARD_SERVICE@@
UNIT
    put "$unit.timer" <<'UNIT' || true
@@DISK_GUARD_TIMER@@
UNIT
    systemctl daemon-reload && systemctl enable --now dataops-infra-disk-guard.timer
}

verified() {
    local answer
    answer=$(runner "$IMAGE" verify) && ! grep -Eiq 'is removed|is not valid|client error|failed|fatal' <<<"$answer" && return
    printf '%s\n' "$answer"
    return 1
}

# The runner says nothing while it polls and finds no job, so silence counts: four looks, five seconds apart, at
# a container that runs, has not restarted, and logged no complaint since the look before. Debug logs say it at once.
polls() {
    local bad='Checking for jobs\.\.\. *(failed|forbidden)|ERROR|FATAL|PANIC|level=(error|fatal|panic)' good=0 state was='' lines
    for _ in {1..36}; do
        sleep 5
        state=$(docker inspect -f '{{.State.Running}} {{.RestartCount}}' "$AGENT") || state=gone
        lines=$(docker logs --since 8s "$AGENT" 2>&1) || lines=ERROR
        if [[ $state != true* || $state != "${was:-$state}" ]] || grep -Eq "$bad" <<<"$lines"; then
            good=0
        else
            good=$((good + 1))
            [[ $lines != *'Checking for jobs'* ]] || good=4
        fi
        was=$state
        [ "$good" -lt 4 ] || return 0
    done
    docker logs --tail 10 "$AGENT" 2>&1 | helper masked
    return 1
}

online_stage() {
    start_runner
    cloudwatch_agent || NOTES='The CloudWatch agent is not running: no memory and disk metrics, and no log. '
    disk_guard || NOTES+='The disk guard is not running. '
    retry verified
    polls
}

start
report boot ''
WANT=docker
docker_stage
report docker ''
WANT=registered
registered_stage
report registered ''
WANT=online
online_stage
say "$GENERATION" >"$STATE/bootstrapped"
report online "$NOTES"
