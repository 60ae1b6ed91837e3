# shellcheck shell=sh
# Runs in stage 1, sourced by whatever shell is there. FROM: the folder `ssh` of the second initrd archive, which the
# kernel unpacks over the first. INTO: the root of the system that is about to start. CMDLINE: the kernel's command
# line; with fleet.keys=handed in it the files must be there. `lost` is what to do when they are not.
hand_keys() {
  if [ ! -s "$FROM/authorized_keys" ] || [ ! -s "$FROM/ssh_host_ed25519_key" ]; then
    case " $(cat "$CMDLINE") " in
      *' fleet.keys=handed '*) ;;
      *) return 0 ;;
    esac
    # Firmware drops a second initrd silently when the first one's length is no multiple of four. Without these
    # keys nobody could log in, and whoever tried would be shown a host key that nobody expects.
    echo "fleet: the menu promised SSH keys and none came with the initrd: a second archive was lost on the way" >&2
    lost
    return 1
  fi
  mkdir -p "$INTO/etc/ssh" "$INTO/root/.ssh"
  chmod 0755 "$INTO/etc/ssh"
  chmod 0700 "$INTO/root" "$INTO/root/.ssh"
  for key in ssh_host_ed25519_key ssh_host_ed25519_key.pub; do
    if [ -s "$FROM/$key" ]; then cp "$FROM/$key" "$INTO/etc/ssh/$key"; fi
  done
  chmod 0600 "$INTO/etc/ssh/ssh_host_ed25519_key"
  cp "$FROM/authorized_keys" "$INTO/root/.ssh/authorized_keys"
  chmod 0600 "$INTO/root/.ssh/authorized_keys"
  # Nothing but the two files in their places needs them any more.
  rm -f "$FROM/ssh_host_ed25519_key" "$FROM/ssh_host_ed25519_key.pub" "$FROM/authorized_keys"
  echo "fleet: SSH host key and authorized keys are in place"
}
