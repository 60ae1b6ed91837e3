#!/bin/sh
# What an SSH login gets that is for the console alone: ROLE INVENTORY QD.
# Without a command: an operator the console, a viewer the dashboard. `ssh machine qd guest list` is one command of qd,
# which for viewers changes nothing. The words are split at blanks and never seen by a shell.
set -uf
role=$1
inventory=$2
qd=$3
export QUARTERDECK_INVENTORY="$inventory"
# What one operator writes the others can change.
umask 0002

# shellcheck disable=SC2086 # split on purpose; globbing is off
set -- ${SSH_ORIGINAL_COMMAND:-}
if [ $# -gt 0 ] && [ "$1" != qd ]; then
  echo "Only qd can be run here, such as: qd status" >&2
  exit 126
fi
[ $# -eq 0 ] || shift
case $role in
  operator) exec "$qd" "$@" ;;
  viewer)
    [ $# -gt 0 ] || exec "$qd" dashboard
    exec "$qd" --read-only "$@"
    ;;
  *) echo "$role is no role" >&2; exit 126 ;;
esac
