"""The real servers of a cluster, as processes that end with this one however it ends."""

import ctypes
import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from cluster.authority import Authority

PR_SET_PDEATHSIG = 1
# Seconds until which the API server must answer; a machine that compiles beside it takes a while.
PATIENCE = 120
LIBC = ctypes.CDLL(None)
# What `up` meets in a cluster. Left out are what needs a cloud, leases of nodes, and what nobody here uses.
CONTROLLERS = (
    "deployment replicaset statefulset daemonset job namespace garbagecollector serviceaccount serviceaccount-token "
    "persistentvolume-binder pvc-protection pv-protection endpoint endpointslice root-ca-cert-publisher resourcequota "
    "disruption clusterrole-aggregation"
).split()


class Failed(Exception):
    """A server that does not start, with what it said."""


def free_port():
    """A port below those that outgoing connections take, so that nobody gets it between this look and its use."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("there is no free port")


class Server:
    """A process whose words go to a file."""

    def __init__(self, folder, program, arguments):
        self.name = program.name
        self.log = folder / f"{self.name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
                # Asked for by the main thread, whose end is the end of the process.
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )

    def check(self):
        """Raises what the server said last if it has ended."""
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace").splitlines()[-15:]
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n" + "\n".join(said))

    def stop(self):
        self.process.kill()
        self.process.wait()


class Servers:
    """etcd, API server, controller manager and scheduler of one cluster."""

    def __init__(self, programs, folder, admin):
        """`admin` is the token of the administrator."""
        self.programs, self.folder, self.admin = programs, folder, admin
        self.authority = Authority(folder)
        self.running = []
        self.port = 0
        self.kubelet_client = self.authority.issue("kube-apiserver-kubelet-client", client=True)

    @property
    def endpoint(self):
        return f"https://127.0.0.1:{self.port}"

    def start(self, webhook, gone):
        """Returns once all of them work. `webhook` is asked about tokens; `gone` says whether nobody waits any more."""
        self.webhook, self.gone = webhook, gone
        for attempt in range(3):
            try:
                return self.started()
            except Failed as failure:
                self.stop()
                # Somebody else was faster with a port.
                if "address already in use" not in str(failure) or attempt == 2:
                    raise

    def started(self):
        client, peer = free_port(), free_port()
        etcd = f"http://127.0.0.1:{client}"
        self.run(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            # It is gone with the test, so few snapshots, and heartbeats that a busy machine does not miss.
            "--snapshot-count=100000",
            "--heartbeat-interval=200",
            "--election-timeout=1000",
            "--logger=zap",
            "--log-level=warn",
        )
        self.api_server(etcd)
        self.until(lambda: self.answers("/livez?exclude=poststarthook/rbac/bootstrap-roles"))
        self.controllers()
        self.until(lambda: self.answers("/readyz"))
        self.until(self.has_service_account)

    def api_server(self, etcd):
        self.port = free_port()
        certificate, key = self.authority.issue("kube-apiserver")
        signing = self.authority.signing_key("service-accounts")
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f'{self.admin},kubernetes-admin,kubernetes-admin,"system:masters"\n')
        webhook = self.kubeconfig("webhook", self.webhook, None)
        self.run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.authority.file}",
            f"--token-auth-file={tokens}",
            f"--authentication-token-webhook-config-file={webhook}",
            "--authentication-token-webhook-version=v1",
            # Short, so that a token that has expired is soon refused.
            "--authentication-token-webhook-cache-ttl=1s",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={signing}",
            f"--service-account-signing-key-file={signing}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.100.0.0/16",
            "--allow-privileged=true",
            # It taints each new node until a controller, which is left out, finds it ready.
            "--disable-admission-plugins=TaintNodesByCondition",
            # Where the kubelets of the played nodes are, all of them in this program.
            "--kubelet-preferred-address-types=ExternalIP",
            f"--kubelet-certificate-authority={self.authority.file}",
            f"--kubelet-client-certificate={self.kubelet_client[0]}",
            f"--kubelet-client-key={self.kubelet_client[1]}",
            "--profiling=false",
        )

    def controllers(self):
        config = self.kubeconfig("servers", self.endpoint, self.admin)
        self.run(
            "kube-controller-manager",
            f"--kubeconfig={config}",
            "--leader-elect=false",
            "--port=0",
            "--secure-port=0",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={self.folder}/service-accounts.key",
            f"--root-ca-file={self.authority.file}",
            # Bound, tried again and cleaned up within a test's patience.
            "--pvclaimbinder-sync-period=2s",
            "--namespace-sync-period=30s",
        )
        self.run(
            "kube-scheduler",
            f"--kubeconfig={config}",
            "--leader-elect=false",
            "--port=0",
            "--secure-port=0",
        )

    def run(self, name, *arguments):
        self.running.append(Server(self.folder, self.programs / name, arguments))

    def kubeconfig(self, name, server, token):
        """Writes the settings of a client, in JSON, which is YAML too; returns the file."""
        file = self.folder / f"{name}.kubeconfig"
        settings = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": str(self.authority.file)}}],
            "users": [{"name": name, "user": {"token": token} if token else {}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        file.touch(0o600)
        file.write_text(json.dumps(settings))
        return file

    def answers(self, path):
        context = ssl.create_default_context(cafile=str(self.authority.file))
        request = urllib.request.Request(self.endpoint + path, headers={"Authorization": f"Bearer {self.admin}"})
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                return answer.read()
        except (urllib.error.URLError, OSError):
            return None

    def has_service_account(self):
        """The controllers work: a pod is refused where its service account has no token yet."""
        said = self.answers("/api/v1/namespaces/default/serviceaccounts/default")
        return said and json.loads(said).get("secrets")

    def until(self, works):
        end = time.monotonic() + PATIENCE
        while not works():
            for server in self.running:
                server.check()
            if self.gone():
                raise Failed("nobody waits for it any more")
            if time.monotonic() > end:
                raise Failed(f"the cluster does not work within {PATIENCE} s")
            time.sleep(0.05)

    def stop(self):
        for server in reversed(self.running):
            server.stop()
        self.running.clear()

    def pids(self):
        return {server.name: server.process.pid for server in self.running}


def make_folder():
    """Makes the folder of a run, held by a lock; those of runs that were killed are removed."""
    above = pathlib.Path(tempfile.gettempdir()) / f"dataops-infra-k8sbench-{os.getuid()}"
    above.mkdir(mode=0o700, exist_ok=True)
    outer = os.open(above, os.O_RDONLY)
    fcntl.flock(outer, fcntl.LOCK_EX)
    for left in above.iterdir():
        lock = os.open(left, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
    folder = pathlib.Path(tempfile.mkdtemp(dir=above))
    # Open as long as this process lives.
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    os.close(outer)
    return folder
