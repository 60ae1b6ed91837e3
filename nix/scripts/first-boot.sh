#!/bin/sh
# Turns a machine that was started from a shared base image into the machine that its own configuration describes:
# `nixos-rebuild boot`, then a reboot, once. A switch would restart systemd, and this service with it, half way.
#
# $STATE/state holds one line, a word and a sentence:
#   building   nixos-rebuild is at work, or the power went while it was
#   rebooting  it succeeded and the reboot was asked for; the system that it built is in $STATE/built
#   done       the built system runs
#   failed     and why; nothing was rebooted. The next start of the machine tries again.
# $STATE/log is nixos-rebuild's output of the last time.
set -u

state_folder=${STATE:-/var/lib/fleet-first-boot}
configuration=${CONFIGURATION:-/etc/nixos}
current=${CURRENT_SYSTEM:-/run/current-system}
profile=${PROFILE:-/nix/var/nix/profiles/system}
attempts=${ATTEMPTS:-3}

say() {
  # A whole line at once, over the old one: a cut in between leaves the one or the other.
  printf '%s\n' "$1" >"$state_folder/state.new"
  mv "$state_folder/state.new" "$state_folder/state"
  printf 'fleet first boot: %s\n' "$1"
}

fail() {
  say "failed: $1"
  exit 1
}

mkdir -p "$state_folder" || exit 1
was=
[ ! -f "$state_folder/state" ] || read -r was <"$state_folder/state"
running=$(readlink -f "$current")

built=$(cat "$state_folder/built" 2>/dev/null)

case $was in
  done*)
    printf 'fleet first boot: %s\n' "$was"
    exit 0
    ;;
esac
if [ -n "$built" ] && [ "$running" = "$built" ]; then
  say "done: $running runs"
  exit 0
fi
case $was in
  rebooting*)
    # No second reboot on its own account: that would go round for ever.
    fail "$built was built, and $running was started. Choose the newest entry of the boot menu, or look at the log."
    ;;
esac

tries=$(cat "$state_folder/tries" 2>/dev/null || echo 0)
case $tries in '' | *[!0-9]*) tries=0 ;; esac
tries=$((tries + 1))
if [ "$tries" -gt "$attempts" ]; then
  fail "it was tried $attempts times. Look at $state_folder/log; remove $state_folder/tries to try again."
fi
echo "$tries" >"$state_folder/tries"

for needed in "$configuration/configuration.nix" "$configuration/hosts/self/default.nix"; do
  [ -f "$needed" ] || fail "there is no $needed. Is the read-only disk that holds it attached?"
done

say "building: try $tries, since $(date -u +%Y-%m-%dT%H:%M:%SZ)"
if ! nixos-rebuild boot >"$state_folder/log" 2>&1; then
  tail -n 20 "$state_folder/log"
  fail "nixos-rebuild boot failed: $(grep -v '^ *$' "$state_folder/log" | tail -n 1)"
fi
built=$(readlink -f "$profile")
echo "$built" >"$state_folder/built"
if [ "$built" = "$running" ]; then
  say "done: $running runs already"
  exit 0
fi
say "rebooting: into $built"
sync
systemctl reboot
