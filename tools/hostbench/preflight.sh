# What the host bench needs of a machine: sourced by `run` and `faults`, from the root of the repository.
# What is missing is said; without it nothing is tried, and with CI=true that is a failure.

. tools/setup.sh

# Exit code of a run that was not made.
SKIPPED=77

skip() {
    if [ "${CI:-}" = true ]; then
        say "error: $*, which CI needs"
        exit 1
    fi
    say "skipped: $*"
    exit "$SKIPPED"
}

[ "$(id -u)" = 0 ] || skip "the host bench needs root"
[ -e /etc/debian_version ] || skip "the host bench needs Debian, whose packages it makes guests of"

# PACKAGE COMMAND...
part() { need "$@" || skip "the host bench needs the Debian package $1"; }
part systemd-container systemd-nspawn --version
part mmdebstrap mmdebstrap --version
part docker-registry docker-registry --version
part iproute2 ip -V
part gpg gpg --version
part dpkg-dev dpkg-deb --version
part openssl openssl version
part util-linux nsenter --version
part mount mount --version
part fdisk sfdisk --version
part xfsprogs mkfs.xfs -V

set_up_python
python=.venv/bin/python
[ -x "$python" ] || skip "the host bench needs the environment of tools/requirements.txt"

# Namespaces, an overlay, and a network between two of them, all gone at the end of the line.
probe='set -e
mount -t tmpfs tmpfs /mnt && mkdir /mnt/l /mnt/u /mnt/w /mnt/m && mount -t overlay o -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m
mount -t tmpfs tmpfs /run && ip netns add probe && ip link add g0 type veth peer name host0 netns probe
ip netns exec probe iptables -t nat -S >/dev/null'
part iptables iptables --version
said=$(unshare --mount --net --pid --ipc --uts --fork --kill-child --mount-proc sh -c "$probe" 2>&1) ||
    skip "this machine cannot make what the host bench needs: $(printf '%s' "$said" | tail -n 1)"
