#!/bin/bash
# Makes a DataOps Runner host out of an Ubuntu machine. Run by cloud-init at the first boot, and as `bootstrap again` by a unit
# of its own at each later one, and until it has succeeded. Running it again is safe.
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
# Port of the runner's metrics, or nothing.
METRICS=@@METRICS@@
# Everything below this folder; not empty only in tests.
ROOT=''
CONFIG=$ROOT/srv/dataops-runner-$AGENT/config
# The last config.toml that worked.
KEPT=$ROOT/var/lib/dataops-infra/config.toml
# cloud-init sets neither; `docker login` writes below it.
HOME=$ROOT/root
export GENERATION REPORT URL SETTINGS REGISTRY CONFIG KEPT HOME DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
# What the runner's container gets, and this script too.
ENVIRONMENT=(@@ENVIRONMENT@@)
# More options for `docker run` of the service.
OPTIONS=(@@OPTIONS@@)
# Region, service, operation and body of the calls that read a secret; the second may be empty.
TOKEN_CALL=(@@TOKEN_CALL@@)
REGISTRY_CALL=(@@REGISTRY_CALL@@)

MODE=${1:-first}
LIBRARY=$ROOT/usr/local/lib/dataops-infra
LOG=$ROOT/var/log/dataops-infra.log
STATE=$ROOT/var/lib/dataops-infra
RUN=$ROOT/run/dataops-infra
IMDS=http://169.254.169.254/latest
# The login of the registry, in memory alone: read anew at each boot.
LOGIN=$ROOT/run/dataops-infra-login
WANT=boot
NOTES=
# Exit code of what trying again does not mend.
FOR_GOOD=78
# Values to mask, one a line. Not exported: only the masking program gets them.
SECRETS=

# A full disk takes no log, but ends nothing. In a shell of its own: what bash could not write it would write with the next line,
# wherever that goes.
say() { (echo "$(date -u +%FT%TZ) $*") || true; }
# Also to the console, for whom the report does not reach.
aloud() {
    say "$*"
    say "$*" >&3
}
die() {
    say "error: $*"
    exit 1
}
die_for_good() {
    say "error: $*"
    exit $FOR_GOOD
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

# FILE, content on stdin: 0 if the file was changed, 1 if it was the same. What is the same needs no room on the disk, and
# half a file does not take the place of a whole one.
put() {
    cat >"$RUN/put"
    ! cmp -s "$RUN/put" "$1" || return 1
    if ! mkdir -p "${1%/*}" || ! cat "$RUN/put" >"$1.new"; then
        rm -f "$1.new"
        die "$1 cannot be written"
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
    local pause role answer path=iam/security-credentials/ region=${1:-$REGION}
    for pause in 2 4 8 15 30 0; do
        answer=
        if role=$(imds "$path") &&
            answer=$(imds "$path$role" | helper credentials |
                curl -sS --fail-with-body --config - --connect-timeout 10 --max-time 30 --aws-sigv4 "aws:amz:$region:$2" \
                    -H "X-Amz-Target: $3" -H 'Content-Type: application/x-amz-json-1.1' --data-raw "$4" \
                    "https://$2.$region.$DNS_SUFFIX/" 2>>"$LOG"); then
            printf '%s' "$answer"
            # Called from a trap too, where a bare one returns what was before the trap.
            return 0
        fi
        # Signatures are good for minutes. The service that keeps the time may only have given up.
        if [[ $answer == *'Signature expired'* || $answer == *'not yet current'* || $answer == *RequestTimeTooSkewed* ]]; then
            say "the clock of this host is wrong: it says $(date -u)" | tee -a "$LOG" >&3
            systemctl restart chrony >>"$LOG" 2>&1 || systemctl restart systemd-timesyncd >>"$LOG" 2>&1 || true
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
        tail+=$(full_disks)
        echo "$tail" >&3
        report failed "$tail" "$WANT"
        # The unit tries again by itself, what cloud-init ran does not.
        [ "$MODE" = again ] || [ "$code" = "$FOR_GOOD" ] || systemctl start --no-block dataops-infra-bootstrap.timer
    fi
    rm -rf "$RUN"
    exit "$code"
}

# Says which disks are full, because what fails then does not.
full_disks() {
    df -P / /var/lib/docker /var/lib/containerd 2>/dev/null |
        awk 'NR > 1 && $4 < 20480 && !seen[$6]++ { printf "\nthe disk of %s is full: %d MiB left", $6, $4 / 1024 }'
    df -Pi / /var/lib/docker /var/lib/containerd 2>/dev/null |
        awk 'NR > 1 && $2 > 0 && $4 < 100 && !seen[$6]++ { printf "\nthe disk of %s has no inodes left", $6 }'
}

# At each boot, and every two minutes until it has succeeded, unless that is of no use. Of an image that was made of this
# host nothing of this is run: another instance has its own user data.
install_itself() {
    local unit=$ROOT/etc/systemd/system/dataops-infra-bootstrap
    [ "$MODE" != again ] || return 0
    mkdir -p "$LIBRARY"
    ! put "$LIBRARY/bootstrap" <"$0" || chmod 700 "$LIBRARY/bootstrap"
    put "$ROOT/etc/tmpfiles.d/dataops-infra.conf" <<<"d $LOGIN 0700 root root" || true
    put "$unit.service" <<UNIT || true
[Unit]
Description=Makes this host a DataOps Runner
Wants=network-online.target
After=network-online.target docker.service
StartLimitIntervalSec=0
[Service]
Type=exec
ExecStart=$LIBRARY/bootstrap again
StandardOutput=journal+console
Restart=on-failure
RestartSec=2min
RestartPreventExitStatus=$FOR_GOOD
[Install]
WantedBy=multi-user.target
UNIT
    put "$unit.timer" <<<$'[Timer]\nOnActiveSec=2min' || true
    systemctl daemon-reload
    systemctl enable dataops-infra-bootstrap.service
}

# Whether a later boot has nothing to do here, and why.
left_alone() {
    [ "$MODE" = again ] || return 1
    if [ -s "$STATE/instance" ] && [ "$(cat "$STATE/instance")" != "$INSTANCE" ]; then
        say 'this is another instance than the one that was set up'
    elif [ -s "$STATE/unregistered" ]; then
        say 'the runner was taken off the platform'
    elif [ -e "$STATE/upgrade.json" ]; then
        say 'an upgrade is under way'
    else
        return 1
    fi
}

start() {
    # Only these are for root's eyes alone; apt reads its lists as another user.
    (umask 077 && mkdir -p "$STATE" "${LOG%/*}" "$CONFIG/certs" && touch "$LOG")
    exec 3>&1 >>"$LOG" 2>&1 </dev/null 9>"$STATE/lock"
    flock 9
    umask 022
    (umask 077 && mkdir -p "$RUN")
    # Where bash keeps long texts between << and a program. Not exported: it is for root alone.
    TMPDIR=$RUN
    cat >"$RUN/host.py" <<'PYTHON'
@@HELPER@@
PYTHON
    trap finish EXIT
    trap 'say "line $LINENO ended with $?: ${BASH_COMMAND%%$'"'\n'"'*}" >&2' ERR
    trap 'exit 143' HUP INT TERM
    say "deployment $DEPLOYMENT, generation $GENERATION, $MODE run"
    # What an upgrade has put in place stays.
    [ "$MODE" != again ] || [ ! -s "$STATE/image" ] || IMAGE=$(cat "$STATE/image")
    put "$STATE/image" <<<"$IMAGE" || true
    put "$STATE/env" < <(printf '%s\n' "${ENVIRONMENT[@]}") || true
    INSTANCE=$(cat "$STATE/instance" 2>/dev/null || true)
    export INSTANCE RUNNER_ID='' "${ENVIRONMENT[@]}"
    if [ -n "$CA" ]; then
        ! put "$ROOT/usr/local/share/ca-certificates/dataops-infra.crt" <<<"$CA" || update-ca-certificates
        put "$CONFIG/certs/ca.crt" <<<"$CA" || true
    fi
    # Before anything that needs a network.
    install_itself
    INSTANCE=$(retry imds instance-id | tail -n 1) || die 'the metadata service does not answer'
    # A template of CloudFormation serves every region.
    [ -n "$REGION" ] || REGION=$(retry imds placement/region | tail -n 1)
    [ -n "$DNS_SUFFIX" ] || DNS_SUFFIX=$(retry imds services/domain | tail -n 1)
    if left_alone; then
        exit 0
    fi
    rm -f "$STATE/bootstrapped"
    put "$STATE/instance" <<<"$INSTANCE" || true
}

apt() {
    timeout 1200 apt-get -qy -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
        -o Acquire::https::Timeout=30 "$@"
}

# PACKAGE...: what an interrupted run left is finished first, and the lists are read anew each time.
packages() {
    timeout 600 dpkg --force-confold --configure -a || say 'packages that were interrupted could not be finished'
    apt update && apt install -o Dpkg::Options::=--force-confold -f "$@"
}

fetch() { retry curl -fsSL --create-dirs --connect-timeout 15 --max-time "$1" -o "$2" "$3"; }

# Security updates go on, but neither restart the machine nor Docker under running jobs: that is for the reboot window.
upgrades() {
    local file=$ROOT/etc/apt/apt.conf.d/60dataops-infra
    put "$file" < <(
        echo 'Unattended-Upgrade::Automatic-Reboot "false";'
        echo 'Unattended-Upgrade::Package-Blacklist { "docker"; "containerd"; "runc"; };'
        [ -z "$PROXY" ] || printf 'Acquire::%s::Proxy "%s";\n' http "$PROXY" https "$PROXY"
        echo 'APT::Periodic::Update-Package-Lists "1"; APT::Periodic::Unattended-Upgrade "1"; APT::Periodic::CleanInterval "7";'
    ) || true
    # Of the C library as well, after which services are restarted.
    # shellcheck disable=SC2016
    put "$ROOT/etc/needrestart/conf.d/dataops-infra.conf" <<<'$nrconf{override_rc}{qr(^(docker|containerd))} = 0;' || true
}

install_docker() {
    local suite packages=(docker.io) ID='' VERSION_CODENAME=''
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
    retry packages "${packages[@]}" || die 'the packages of Docker cannot be installed'
}

docker_runs() { timeout 30 docker info >/dev/null 2>&1; }

# Waits for a daemon that is there; what keeps it is told.
docker_comes() {
    retry docker_runs && return
    # The daemon's own words; what systemd says of it explains nothing.
    journalctl -q _SYSTEMD_UNIT=docker.service -n 5 --no-pager -o cat || true
    die 'Docker does not answer'
}

docker_stage() {
    local changed=
    upgrades
    # Before the packages, which start the daemon.
    ! put "$ROOT/etc/docker/daemon.json" <<<"$DAEMON_JSON" || changed=yes
    # At a boot the daemon may be on its way, or ill: packages do not help then, unless an installation was interrupted.
    if ! docker_runs && { [ ! -x "$ROOT/usr/bin/dockerd" ] || [ -n "$(dpkg --audit 2>&1)" ]; }; then
        install_docker
        changed=
    fi
    systemctl enable docker
    # A daemon that failed too often is not started any more unless somebody says so.
    systemctl reset-failed docker 2>/dev/null || true
    if [ -n "$changed" ]; then systemctl restart docker; else systemctl start docker; fi || true
    docker_comes
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

# In memory alone, for Docker here and for the runner's pulls.
log_in() {
    mkdir -p "$LOGIN"
    chmod 700 "$LOGIN"
    if [ ! -L "$HOME/.docker" ]; then
        rm -rf "$HOME/.docker"
        mkdir -p "$HOME"
        ln -s "$LOGIN" "$HOME/.docker"
    fi
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
    ) | tee "$RUN/registering"
}

# TOKEN: ends the run where the platform refused it. It is asked about the same token once an hour; another one may come.
refused() {
    local why
    if grep -Eq '\b410\b|disallowed' "$RUN/registering"; then
        why='the platform takes no registration tokens any more (410): make a runner there, and give its glrt- token'
    elif grep -Eiq 'forbidden|\b403\b|is not valid|is removed' "$RUN/registering"; then
        why='the platform refuses the token (403): it is wrong, has expired or was revoked'
    else
        return 1
    fi
    rm -f "$STATE/registering"
    printf '%s\n' "$(sha256sum <<<"$1")" "$why" >"$STATE/refused"
    die "$why"
}

# Asked without a token: any answer will do but that it is down. Registering is then not tried in vain.
platform_answers() {
    local code
    code=$(curl -sS -o /dev/null -w '%{http_code}' --connect-timeout 15 --max-time 30 -X POST "$URL/api/v4/runners/verify") || return
    [[ $code != 5* ]] || {
        say "the platform answers $code"
        return 1
    }
}

register_new() { register "$1" || refused "$1"; }

# Registering with a token of the older kind is the one call that is not repeated blindly: each makes a runner. One whose
# answer was lost, or in whose middle the host went down, is tried again, up to three times in all, and told.
register_once() {
    local before=0
    [ ! -e "$STATE/registering" ] || before=$(wc -l <"$STATE/registering")
    if [ "$before" != 0 ]; then
        doubt="The platform may list $before more of this name that never was online: the answer to an earlier registration was lost. "
        [ "$before" -lt 3 ] || die_for_good "$doubt"
        printf '%s' "$doubt" >"$STATE/doubt"
    fi
    say 'registering' >>"$STATE/registering"
    sync "$STATE/registering" || true
    register_new "$1" && return
    # Not even sent.
    ! grep -Eq 'no such host|connection refused|network is unreachable|x509: ' "$RUN/registering" ||
        sed -i '$d' "$STATE/registering"
    die 'the platform did not register the runner'
}

registered_stage() {
    local token found login doubt
    if [ ${#REGISTRY_CALL[@]} != 0 ]; then
        login=$(aws_call "${REGISTRY_CALL[@]}" | helper registry)
        mapfile -t login <<<"$login"
        SECRETS+=${login[1]}$'\n'
        if [ "$MODE" != again ]; then
            retry log_in "${login[@]}" || die 'the registry does not take the login'
        elif ! log_in "${login[@]}"; then
            NOTES+='The registry takes the login no more: images of jobs cannot be pulled. '
        fi
    fi
    # A running runner never updates itself.
    if [ "$MODE" != again ] || ! docker image inspect "$IMAGE" >/dev/null 2>&1; then
        retry pull || die "the image $IMAGE cannot be pulled"
    fi
    found=$(helper registered)
    if [ -z "$found" ]; then
        token=$(aws_call "${TOKEN_CALL[@]}" | helper token)
        SECRETS+=$token$'\n'
        retry platform_answers || die 'the platform does not answer'
        rm -f "$STATE/unregistered"
        if [ "$MODE" = again ] && [ -n "$(find "$STATE/refused" -mmin -60 2>/dev/null)" ] &&
            grep -qxF "$(sha256sum <<<"$token")" "$STATE/refused"; then
            die "$(tail -n 1 "$STATE/refused")"
        fi
        if [[ $token == glrt-* ]]; then
            retry register_new "$token" || die 'the platform did not verify the token'
        else
            register_once "$token"
        fi
        found=$(helper registered)
        [ -n "$found" ] || die 'the runner wrote no token into config.toml'
        rm -f "$STATE/registering" "$STATE/refused" "$STATE/settings"
    fi
    SECRETS+=${found#* }$'\n'
    RUNNER_ID=${found%% *}
    [[ $RUNNER_ID =~ ^[0-9]+$ ]] || RUNNER_ID=
    chmod 600 "$CONFIG/config.toml"
    [ ! -s "$STATE/doubt" ] || NOTES+=$(cat "$STATE/doubt")
    # Only what was not said before, or a change that somebody made since would be undone.
    if ! cmp -s "$STATE/settings" <<<"$SETTINGS"; then
        helper settings
        put "$STATE/settings" <<<"$SETTINGS" || true
    fi
}

start_runner() {
    if docker container inspect "$AGENT" >/dev/null 2>&1; then
        # Ours is `always`: somebody stopped it, and it is theirs to start; unless it was a program of this host.
        if [ "$MODE" = again ] && [ "$(docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' "$AGENT")" = no ] &&
            ! grep -qxF "$AGENT" "$STATE/stopped" 2>/dev/null; then
            succeeded stopped 'somebody stopped the runner'
            exit 0
        fi
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
    if ! put "$base/etc/dataops-infra.json" <<<"$AGENT_JSON" && systemctl -q is-active amazon-cloudwatch-agent; then
        return
    fi
    if [ -n "$PROXY" ]; then
        put "$base/etc/common-config.toml" < <(
            printf '[proxy]\n  http_proxy = "%s"\n  https_proxy = "%s"\n  no_proxy = "%s"\n' "$PROXY" "$PROXY" "$NO_PROXY"
        ) || true
    fi
    timeout 120 "$ctl" -a fetch-config -m ec2 -s -c "file:$base/etc/dataops-infra.json"
}

# What the host does for itself later. Neither does harm whenever it starts: the guard knows the runner's image.
timers() {
    local lib=$ROOT/usr/local/lib/dataops-infra unit=$ROOT/etc/systemd/system/dataops-infra
    put "$lib/disk-guard.py" <<'PROGRAM' || true
@@DISK_GUARD@@
PROGRAM
    put "$unit-disk-guard.service" <<'UNIT' || true
@@DISK_GUARD_SERVICE@@
UNIT
    put "$unit-disk-guard.timer" <<'UNIT' || true
@@DISK_GUARD_TIMER@@
UNIT
    put "$lib/reboot-window.sh" <<'PROGRAM' || true
@@REBOOT_WINDOW@@
PROGRAM
    put "$unit-reboot-window.service" <<'UNIT' || true
@@REBOOT_WINDOW_SERVICE@@
UNIT
    put "$unit-reboot-window.timer" <<'UNIT' || true
@@REBOOT_WINDOW_TIMER@@
UNIT
    systemctl daemon-reload && systemctl enable --now dataops-infra-{disk-guard,reboot-window}.timer
}

verified() {
    local answer
    answer=$(runner "$IMAGE" verify) && ! grep -Eiq 'is removed|is not valid|client error|failed|fatal' <<<"$answer" && return
    printf '%s\n' "$answer"
    ! grep -Eiq 'is removed|is not valid|forbidden|\b403\b' <<<"$answer" ||
        die_for_good 'the platform does not know this runner any more: its token was revoked, or somebody deleted the runner'
    return 1
}

# Whether the runner's metrics show a question for jobs that was answered.
asked() {
    local said
    [ -n "$METRICS" ] && said=$(curl -s --noproxy '*' --max-time 5 "http://127.0.0.1:$METRICS/metrics") &&
        grep -Eq '^gitlab_runner_api_request_statuses_total\{.*endpoint="request_job".*status="20[14]".*\} [1-9]' <<<"$said"
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
            ! asked || good=4
        fi
        was=$state
        [ "$good" -lt 4 ] || return 0
    done
    docker logs --tail 10 "$AGENT" 2>&1 | helper masked
    return 1
}

online_stage() {
    start_runner
    cloudwatch_agent || NOTES+='The CloudWatch agent is not running: no memory and disk metrics, and no log. '
    timers || NOTES+='The disk guard and the reboot window are not running. '
    retry verified || die 'the runner cannot be verified at the platform'
    polls || die 'the runner does not ask for jobs'
    # For a config.toml that somebody spoils.
    put "$STATE/config.toml" <"$CONFIG/config.toml" || true
    chmod 600 "$STATE/config.toml"
}

# STAGE DETAIL
succeeded() {
    say "$GENERATION" >"$STATE/bootstrapped"
    [ ! -e "$STATE/doubt" ] || mv "$STATE/doubt" "$STATE/strays"
    report "$1" "$2"
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
succeeded online "$NOTES"
