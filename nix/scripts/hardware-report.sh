#!/bin/sh
# Prints what this machine is made of, as one JSON object. POSIX shell; of other programs it needs only date, uname,
# readlink, basename, sort, tr and sed. ROOT is put before every path, for a look at the tree of another machine.
set -u
LC_ALL=C
export LC_ALL
root=${ROOT:-}

# Text from firmware may hold anything. What is left of it: printable ASCII, without the blanks at its ends.
string() {
  case $1 in
    *[!A-Za-z0-9._:/+-]*)
      printf '"%s"' "$(printf '%s' "$1" | tr -cd '\040-\176' | sed 's/^ *//; s/ *$//; s/\\/\\\\/g; s/"/\\"/g')" ;;
    *) printf '"%s"' "$1" ;;
  esac
}

# The first line of a file as `line`; empty when it cannot be read.
first_line() {
  line=
  if [ -f "$1" ] && [ -r "$1" ]; then IFS= read -r line <"$1" || :; fi 2>/dev/null
}

text() { first_line "$1"; if [ -n "$line" ]; then string "$line"; else printf null; fi; }

number() {
  first_line "$1"
  # A number that starts with 0 is octal to the shell, and no number to JSON.
  case $line in 0) printf 0 ;; '' | *[!0-9]* | 0*) printf null ;; *) printf '%s' "$line" ;; esac
}

# The name of what a link points to, as a string.
target() { if [ -L "$1" ]; then string "$(basename "$(readlink "$1")")"; else printf null; fi; }

# hexadecimal without 0x, as the kernel and lspci write ids
hexadecimal() { first_line "$1"; printf '%s' "${line#0x}" | tr -cd '0-9a-f'; }

processor() {
  model='' vendor='' threads=0 flags='' sockets=' ' cores=' ' socket=0
  while IFS=: read -r key value; do
    value=${value# }
    case $key in
      'model name'*) model=$value ;;
      vendor_id*) vendor=$value ;;
      processor*) threads=$((threads + 1)) ;;
      'physical id'*) socket=$value; case $sockets in *" $value "*) ;; *) sockets="$sockets$value " ;; esac ;;
      'core id'*) case $cores in *" $socket/$value "*) ;; *) cores="$cores$socket/$value " ;; esac ;;
      flags*) flags=" $value " ;;
    esac
  done <"$root/proc/cpuinfo"
  case $flags in *' vmx '*) virtualization=vmx ;; *' svm '*) virtualization=svm ;; *) virtualization= ;; esac
  # shellcheck disable=SC2086 # counted by its words
  set -- $sockets
  printf '{"model":%s,"vendor":%s,"sockets":%s,' "$(string "$model")" "$(string "$vendor")" "$(($# > 0 ? $# : 1))"
  # shellcheck disable=SC2086
  set -- $cores
  printf '"cores":%s,"threads":%s,"virtualization":' "$(($# > 0 ? $# : threads))" "$threads"
  if [ -n "$virtualization" ]; then string "$virtualization"; else printf null; fi
  printf '}'
}

memory_kib() {
  while read -r key value _; do
    if [ "$key" = MemTotal: ]; then printf '%s' "$value"; return; fi
  done <"$root/proc/meminfo"
  printf null
}

firmware() {
  if [ -d "$root/sys/firmware/efi" ]; then printf uefi
  elif [ -e "$root/proc/device-tree/model" ]; then printf device-tree
  else printf bios; fi
}

machine() {
  dmi=$root/sys/class/dmi/id
  product=$dmi/product_name
  [ -e "$product" ] || product=$root/proc/device-tree/model
  printf '{"vendor":%s,"product":%s,"serial":%s}' \
    "$(text "$dmi/sys_vendor")" "$(text "$product")" "$(text "$dmi/product_serial")"
}

# The names under /dev/disk/by-id of one whole disk: those with model and serial first, world-wide names last.
disk_ids() {
  for link in "$root"/dev/disk/by-id/*; do
    [ -L "$link" ] || continue
    [ "$(basename "$(readlink "$link")")" = "$1" ] || continue
    id=${link##*/}
    case $id in wwn-* | nvme-eui.* | nvme-nvme.* | nvme-uuid.* | lvm-* | dm-*) echo "2 $id" ;; *) echo "1 $id" ;; esac
  done | sort | { comma=
    while read -r _ id; do printf '%s' "$comma"; string "/dev/disk/by-id/$id"; comma=,; done; }
}

disks() {
  comma=
  for disk in "$root"/sys/block/*; do
    name=${disk##*/}
    case $name in loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | mtdblock* | *boot[0-9]) continue ;; esac
    first_line "$disk/size"
    case $line in '' | 0 | *[!0-9]*) continue ;; esac
    bytes=$((line * 512))
    serial=$disk/device/serial
    [ -e "$serial" ] || serial=$disk/serial
    first_line "$disk/queue/rotational"
    if [ "$line" = 1 ]; then rotational=true; else rotational=false; fi
    first_line "$disk/removable"
    if [ "$line" = 1 ]; then removable=true; else removable=false; fi
    printf '%s{"name":%s,"bytes":%s,"by_id":[%s],"model":%s,"serial":%s,"rotational":%s,"removable":%s}' "$comma" \
      "$(string "$name")" "$bytes" "$(disk_ids "$name")" "$(text "$disk/device/model")" "$(text "$serial")" \
      "$rotational" "$removable"
    comma=,
  done
}

nics() {
  comma=
  for nic in "$root"/sys/class/net/*; do
    # What has no device behind it is a bridge, a tunnel or lo.
    [ -e "$nic/device" ] || continue
    first_line "$nic/carrier"
    if [ "$line" = 1 ]; then link=true; else link=false; fi
    # A virtio card's device is a child of its PCI function.
    function=$(readlink -f "$nic/device")
    case ${function##*/} in virtio*) function=${function%/*} ;; esac
    case ${function##*/} in
      *:[0-9a-f][0-9a-f].[0-7]) function=$(string "${function##*/}") ;;
      *) function=null ;;
    esac
    printf '%s{"name":%s,"mac":%s,"link":%s,"driver":%s,"pci":%s}' "$comma" \
      "$(string "${nic##*/}")" "$(text "$nic/address")" "$link" "$(target "$nic/device/driver")" "$function"
    comma=,
  done
}

pci() {
  comma=
  for device in "$root"/sys/bus/pci/devices/*; do
    [ -e "$device/vendor" ] || continue
    group=null
    [ -L "$device/iommu_group" ] && group=$(basename "$(readlink "$device/iommu_group")")
    case $group in *[!0-9]*) group=null ;; esac
    boot_vga=null
    if [ -e "$device/boot_vga" ]; then
      first_line "$device/boot_vga"
      if [ "$line" = 1 ]; then boot_vga=true; else boot_vga=false; fi
    fi
    printf '%s{"address":%s,"id":"%s:%s","class":"%s","driver":%s,"iommu_group":%s,"boot_vga":%s}' "$comma" \
      "$(string "${device##*/}")" "$(hexadecimal "$device/vendor")" "$(hexadecimal "$device/device")" \
      "$(hexadecimal "$device/class")" "$(target "$device/driver")" "$group" "$boot_vga"
    comma=,
  done
}

printf '{"schema":1,"time":"%s","architecture":%s,"firmware":"%s",' \
  "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(string "$(uname -m)")" "$(firmware)"
printf '"machine":%s,"cpu":%s,"memory_kib":%s,' "$(machine)" "$(processor)" "$(memory_kib)"
printf '"disks":[%s],"nics":[%s],"pci":[%s],' "$(disks)" "$(nics)" "$(pci)"
printf '"ssh_host_key":%s}\n' "$(text "$root/etc/ssh/ssh_host_ed25519_key.pub")"
