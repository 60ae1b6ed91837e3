"""SSH into the lab: keys that are made once per lab, and an sshd in each host that trusts only these."""

from __future__ import annotations

from pathlib import Path

from laboratory.errors import run

# The host's own root lies on the machine's: no file of the real root's home is read or written.
SSHD_CONF = """\
Port {port}
AddressFamily inet
HostKey {host_key}
AuthorizedKeysFile /run/sshd/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitUserRC no
PrintMotd no
PrintLastLog no
MaxStartups 200
Subsystem sftp internal-sftp
PidFile /run/sshd.pid
"""
PORT = 22


def identity(lab: Path) -> Path:
    """The operator's private key; its public half is beside it."""
    return lab / "ssh/id_ed25519"


def public_key(private: Path) -> str:
    """A key's public half without its comment: `ssh-ed25519 AAAA...`."""
    return " ".join(private.with_suffix(".pub").read_text().split()[:2])


def make_key(private: Path, comment: str) -> None:
    """`private` and its public half are there; a key that is there is kept, since it is pinned somewhere."""
    if private.exists() and private.with_suffix(".pub").exists():
        return
    private.unlink(missing_ok=True)
    private.parent.mkdir(parents=True, exist_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", private])


def prepare_sshd(run_folder: Path, host_key: Path, trusted: Path) -> None:
    """`run_folder`, which the host sees as /run, has all that its sshd reads."""
    folder = run_folder / "sshd"
    folder.mkdir()
    folder.chmod(0o755)  # whatever the umask is: sshd insists
    (folder / "sshd_config").write_text(SSHD_CONF.format(port=PORT, host_key=host_key))
    (folder / "authorized_keys").write_text(public_key(trusted) + "\n")
    (folder / "authorized_keys").chmod(0o644)
