"""The files and arguments of a cluster's programs: one node, no authentication but tokens, nothing of the machine's."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from tests.backends.cluster.init import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NODE = "node"

#: Image of the process that holds the namespaces of a pod.
PAUSE = "stagecoach-test/pause:1"

#: In the cluster's own network, where nothing else listens.
_API_PORT, _ETCD, _ETCD_PEERS = 6443, "http://127.0.0.1:2379", "http://127.0.0.1:2380"
_PODS, _SERVICES, _API_SERVICE = "10.97.0.0/24", "10.98.0.0/24", "10.98.0.1"

API = ("127.0.0.1", _API_PORT)

#: Plugins of Debian's containernetworking-plugins.
NETWORK_PLUGINS = "/usr/lib/cni"


def write_credentials(folder: Path, tokens: Mapping[str, tuple[str, str]]) -> None:
    """Write the server's key and certificate, and who may come in.

    :param tokens: user -> token and group
    """
    names = f"IP:127.0.0.1,IP:{ADDRESS},IP:{_API_SERVICE},DNS:localhost,DNS:kubernetes.default"
    command = shlex.split("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=cluster")
    command += ["-keyout", f"{folder}/api.key", "-out", f"{folder}/api.crt"]
    command += ["-addext", f"subjectAltName={names}"]
    subprocess.run(command, check=True, capture_output=True)
    lines = [f'{token},{user},{user},"{group}"\n' for user, (token, group) in tokens.items()]
    (folder / "tokens.csv").write_text("".join(lines))


def write_kubeconfig(path: Path, server: str, certificate: Path, token: str) -> None:
    """Write how somebody reaches the API."""
    place = {"server": server, "certificate-authority": str(certificate)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": place}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(content))


def etcd(folder: Path) -> list[str]:
    """The command of the database."""
    return [
        "etcd",
        *(f"--data-dir={folder}/etcd", f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}"),
        *(f"--listen-peer-urls={_ETCD_PEERS}", f"--initial-advertise-peer-urls={_ETCD_PEERS}"),
        *(f"--initial-cluster=default={_ETCD_PEERS}", "--unsafe-no-fsync", "--log-level=warn"),
    ]


def apiserver(programs: Path, folder: Path) -> list[str]:
    """The command of the API."""
    key = f"{folder}/api.key"
    return [
        f"{programs}/kube-apiserver",
        *(f"--etcd-servers={_ETCD}", f"--secure-port={_API_PORT}", "--bind-address=0.0.0.0"),
        *(f"--advertise-address={ADDRESS}", f"--service-cluster-ip-range={_SERVICES}"),
        *(f"--tls-cert-file={folder}/api.crt", f"--tls-private-key-file={key}"),
        *(f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=RBAC", "--allow-privileged=true"),
        *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
        *("--service-account-issuer=https://kubernetes.default.svc", f"--cert-dir={folder}/pki"),
        "--kubelet-preferred-address-types=InternalIP",
    ]


def controller_manager(programs: Path, folder: Path) -> list[str]:
    """The command of the controllers: jobs, garbage, service accounts."""
    return [
        f"{programs}/kube-controller-manager",
        *(f"--kubeconfig={folder}/inner.kubeconfig", "--leader-elect=false", "--port=0"),
        *(f"--service-account-private-key-file={folder}/api.key", f"--root-ca-file={folder}/api.crt"),
        f"--flex-volume-plugin-dir={folder}/plugins",
        "--controllers=*,-nodeipam,-cloud-node-lifecycle,-service,-route",
    ]


def scheduler(programs: Path, folder: Path) -> list[str]:
    """The command of the scheduler."""
    kubeconfig = f"--kubeconfig={folder}/inner.kubeconfig"
    return [f"{programs}/kube-scheduler", kubeconfig, "--leader-elect=false", "--port=0"]


def containerd(folder: Path) -> list[str]:
    """The command of what runs containers; writes its files."""
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": _PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }
    (folder / "cni").mkdir(exist_ok=True)
    (folder / "cni" / "10-pods.conflist").write_text(json.dumps(network))
    # Without CAP_SYS_RESOURCE no process may be given a lower score than it has.
    (folder / "containerd.toml").write_text(
        f"""\
version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{NETWORK_PLUGINS}"
    conf_dir = "{folder}/cni"
"""
    )
    return ["containerd", "--config", f"{folder}/containerd.toml"]


def kubelet(programs: Path, folder: Path) -> list[str]:
    """The command of the node; writes its file."""
    content: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        # The control groups of the machine stay as they are, full disks are somebody else's trouble.
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "resolvConf": "",
        "maxPods": 50,
        # Else the node is taken for ready after ten seconds only.
        "nodeStatusUpdateFrequency": "1s",
        "syncFrequency": "10s",
        "volumePluginDir": f"{folder}/plugins",
    }
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(content))
    return [
        f"{programs}/kubelet",
        *(f"--kubeconfig={folder}/inner.kubeconfig", f"--config={folder}/kubelet.yaml"),
        *("--container-runtime=remote", f"--container-runtime-endpoint=unix://{folder}/containerd.sock"),
        *(f"--node-ip={ADDRESS}", f"--hostname-override={NODE}"),
        *(f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/kubelet/pki"),
    ]
