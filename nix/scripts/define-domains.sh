# Tells libvirt of the networks, pools and guests that FROM has files of. LIBVIRT_DEFAULT_URI says which libvirt.
#
# Networks and pools: defined where they are missing, redefined where their file changed (what runs goes on as it is
# until it is started anew), started, and started with the host from now on.
# Guests: defined on a host that was never managed, and there only those whose uuid libvirt does not know. STATE keeps
# that it is managed. No guest is started, stopped or undefined.
set -eu

mkdir -p "$STATE"
failed=0

fault() {
  echo "$*" >&2
  failed=1
}

# part KIND NAME: a network or a pool. virsh calls them net-* and pool-*.
part() {
  case $1 in network) verb=net ;; *) verb=$1 ;; esac
  file=$FROM/$1s/$2.xml
  sum=$(sha256sum <"$file")
  if uuid=$(virsh "$verb-uuid" "$2" 2>/dev/null); then
    uuid=$(printf %s "$uuid" | tr -d '[:space:]')
    known=$(cat "$STATE/$1-$2" 2>/dev/null || true)
    if [ "$known" != "$sum" ]; then
      sed "s|<name>|<uuid>$uuid</uuid><name>|" "$file" >"$STATE/new.xml"
      virsh "$verb-define" "$STATE/new.xml" >/dev/null || return 1
    fi
  else
    virsh "$verb-define" "$file" >/dev/null || return 1
    if [ "$1" = pool ]; then virsh pool-build "$2" >/dev/null || return 1; fi
    echo "The $1 $2 is defined."
  fi
  printf '%s\n' "$sum" >"$STATE/$1-$2"
  virsh "$verb-autostart" "$2" >/dev/null || return 1
  if virsh "$verb-info" "$2" | grep -Eq '^(Active|State): +(no|inactive)$'; then
    virsh "$verb-start" "$2" >/dev/null || return 1
  fi
}

# guest NAME UUID AUTOSTART
guest() {
  if virsh domname "$2" >/dev/null 2>&1; then return 0; fi
  virsh define "$FROM/guests/$1.xml" >/dev/null || return 1
  echo "The guest $1 is defined."
  if [ "$3" = autostart ]; then virsh autostart "$2" >/dev/null || return 1; fi
}

# A domain that bears the mark of an inventory was written by a console.
marked() {
  for uuid in $(virsh list --all --uuid); do
    if virsh dumpxml "$uuid" | grep -q 'xmlns:qd='; then return 0; fi
  done
  return 1
}

virsh version >/dev/null
new=no
if ! [ -e "$STATE/managed" ]; then
  if [ -e "$STATE/begun" ] || ! marked; then
    new=yes
    # What was defined before this was cut short bears the mark too.
    : >"$STATE/begun"
  fi
fi

while read -r kind name uuid autostart; do
  case $kind in
  guest)
    if [ "$new" = yes ]; then
      guest "$name" "$uuid" "$autostart" || fault "The guest $name could not be defined."
    fi
    ;;
  *) part "$kind" "$name" || fault "The $kind $name could not be set up." ;;
  esac
done <"$FROM/list"

if [ "$failed" = 0 ]; then
  mv "$STATE/begun" "$STATE/managed" 2>/dev/null || : >>"$STATE/managed"
fi
exit "$failed"
