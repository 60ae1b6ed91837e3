#!/usr/bin/env bash
# The base images of NixOS guests, as volumes of storage pools.
#
#   fleet-bases link POOL IMAGE     the image of the store is a volume of the pool: POOL/nixos-HASH.qcow2
#   fleet-bases list POOL...        each base and the overlays that stand on it, or "unused"
#   fleet-bases prune POOL...       unused bases are no volumes any more; KEEP names images that stay
#
# A volume is a link that Nix takes for a root: as long as it is there, no collection of garbage takes the image away
# from under a guest. It is named after its content and never pointed elsewhere: an overlay on another base is broken.
set -euo pipefail
shopt -s nullglob inherit_errexit
roots=${GCROOTS:-/nix/var/nix/gcroots/auto}
store=${NIX_STORE_DIR:-/nix/store}

# volume POOL IMAGE: the name of the volume. A store path's hash is the 32 characters before the first dash.
volume() {
  local path=${2#"$store/"}
  if [ "$path" = "$2" ] || [ "${path:32:1}" != - ]; then
    echo "fleet-bases: $2 is not in the Nix store" >&2
    exit 1
  fi
  echo "$1/nixos-${path:0:12}.qcow2"
}

link() {
  local found
  found=$(volume "$1" "$2")
  if [ "$(readlink "$found" || :)" != "$2" ]; then
    if [ -e "$found" ]; then
      echo "fleet-bases: $found is there already and is something else. It is not touched." >&2
      exit 1
    fi
    ln -sfn "$2" "$found"
  fi
  mkdir -p "$roots"
  ln -sfn "$found" "$roots/fleet-$(basename "$1")-${found##*/}"
  echo "$found"
}

# users POOL...: "BASE OVERLAY" for every overlay of the pools
users() {
  local pool file backing
  for pool; do
    for file in "$pool"/*.qcow2; do
      [ ! -L "$file" ] || continue
      # -U: the guest that runs on it holds its lock.
      backing=$(qemu-img info -U --output=json "$file" | jq -r '."full-backing-filename" // empty') ||
        { echo "fleet-bases: $file cannot be read, so nothing is known to be unused" >&2; exit 1; }
      if [ -n "$backing" ]; then printf '%s %s\n' "$(readlink -f "$backing" || echo "$backing")" "${file##*/}"; fi
    done
  done
}

list() {
  local pool file used overlays
  used=$(users "$@")
  for pool; do
    for file in "$pool"/nixos-*.qcow2; do
      [ -L "$file" ] || continue
      overlays=$(awk -v base="$(readlink -f "$file")" '$1 == base { $1 = ""; printf "%s", $0 }' <<<"$used")
      if [ -n "$overlays" ]; then overlays="used by$overlays"; else overlays=unused; fi
      printf '%s\t%s\n' "$file" "$overlays"
    done
  done
}

prune() {
  local file state found
  # All of it first: a list that breaks off is no proof that the rest is unused.
  found=$(list "$@")
  while IFS=$'\t' read -r file state; do
    if [ "$state" = unused ] && [[ " ${KEEP:-} " != *" $(readlink "$file") "* ]]; then
      rm "$file"
      echo "removed $file"
    fi
  done <<<"$found"
}

case ${1:-} in
  link) [ $# -eq 3 ] || exit 2; link "$2" "$3" ;;
  list) shift; list "$@" ;;
  prune) shift; prune "$@" ;;
  *) sed -n '4,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
