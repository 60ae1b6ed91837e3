"""The inventory that describes the lab, so that the console can be pointed at it at once."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from laboratory import secure_shell
from laboratory.errors import run
from laboratory.gpu import ADDRESS, MAC, NAME, GpuHost
from laboratory.host import BRIDGE, GATEWAY, NETWORK, POOL, POOL_PATH, SUBNET, Host

FLEET = """\
# The fleet of demo/lab. It is yours: the lab writes it once and never again.
version = 1
name = "lab"

[defaults]
state_version = "25.11"

[ssh]
identity = "{identity}"
agent = false

[networks.{network}]
bridge = "{bridge}"
subnet = "{subnet}"
gateway = "{gateway}"
dns = [{dns}]

[pools.{pool}]
path = "{pool_path}"

# Who may log in when the hosts are installed as NixOS machines: the lab's own key.
[users.lab]
keys = ["{user_key}"]
role = "operator"
"""

HOST = """\
# A real libvirtd with QEMU in a namespace of this machine; KVM is hidden from it. Its SSH port is on 127.0.0.1,
# since no network of this machine leads to its address.
mac = "{mac}"
address = "{address}/24"
uri = "{uri}"
ssh_host_key = "{key}"
accel = "tcg"
labels = ["lab"]
disk = "/dev/disk/by-id/virtio-{name}"
"""


GPU_FLEET = """\
# The fleet of demo/lab gpu. It is yours: the lab writes it once and never again.
version = 1
name = "gpu-lab"

[defaults]
state_version = "25.11"

[ssh]
identity = "{identity}"
agent = false

[pools.{pool}]
path = "{pool_path}"
"""

GPU_HOST = """\
# A machine of QEMU's with an IOMMU, a display with its audio function, a second display that makes mediated devices,
# an NVMe disk and a network card with SR-IOV. Its KVM is emulated: it works, slowly. Its SSH port is on 127.0.0.1.
mac = "{mac}"
address = "{address}/24"
uri = "{uri}"
ssh_host_key = "{key}"
labels = ["lab", "gpu"]
"""


def write_inventory(lab: Path, uris: Mapping[Host, str]) -> bool:
    """The lab's inventory is in a git repository of one commit; False when it was there and was kept."""
    fleet = FLEET.format(
        network=NETWORK,
        bridge=BRIDGE,
        subnet=SUBNET,
        gateway=GATEWAY,
        dns=", ".join(f'"{host.address}"' for host in uris),
        identity=secure_shell.identity(lab),
        pool=POOL,
        pool_path=POOL_PATH,
        user_key=secure_shell.public_key(secure_shell.identity(lab)),
    )
    hosts = {}
    for host, uri in uris.items():
        key = secure_shell.public_key(host.host_key)
        hosts[host.name] = HOST.format(name=host.name, mac=host.mac, address=host.address, uri=uri, key=key)
    return _commit(lab / "inventory", fleet, hosts)


def write_gpu_inventory(host: GpuHost) -> bool:
    """The GPU host's inventory is in a git repository of one commit; False when it was there and was kept."""
    fleet = GPU_FLEET.format(identity=secure_shell.identity(host.lab), pool=POOL, pool_path=POOL_PATH)
    key = secure_shell.public_key(host.host_key)
    text = GPU_HOST.format(mac=MAC, address=ADDRESS, uri=host.uri, key=key)
    return _commit(host.inventory, fleet, {NAME: text})


def _commit(folder: Path, fleet: str, hosts: Mapping[str, str]) -> bool:
    if folder.exists():
        return False
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        work = Path(scratch) / "inventory"
        (work / "hosts").mkdir(parents=True)
        (work / "fleet.toml").write_text(fleet)
        for name, text in hosts.items():
            (work / f"hosts/{name}.toml").write_text(text)
        run(["git", "init", "--quiet", "--initial-branch=main"], cwd=work)
        run(["git", "add", "."], cwd=work)
        author = ["-c", "user.name=demo/lab", "-c", "user.email=lab@quarterdeck.invalid"]
        run(["git", *author, "commit", "--quiet", "--no-gpg-sign", "-m", "Describe the lab"], cwd=work)
        work.rename(folder)
    return True
