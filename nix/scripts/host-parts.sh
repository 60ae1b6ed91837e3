# What a host's cards are parted into for guests: virtual functions, vGPU types, mediated devices.
# What is there already stays as it is, so that running it again takes nothing from a guest.
# SYS: where sysfs is. WAIT_S: how long a card's driver may take to come.
failed=0

say() {
  echo "fleet: $*" >&2
  failed=1
}

# appears FILE: true once it is there.
appears() {
  left=$WAIT_S
  while ! [ -e "$1" ]; do
    [ "$left" -gt 0 ] || return 1
    left=$((left - 1))
    sleep 1
  done
}

# put TEXT FILE: true when the kernel takes it.
put() {
  { printf '%s\n' "$1" >"$2"; } 2>/dev/null
}

# virtual ADDRESS COUNT: the function has so many virtual functions.
virtual() {
  device=$SYS/bus/pci/devices/$1
  if ! appears "$device/driver" || ! [ -e "$device/sriov_numvfs" ]; then
    say "$1 cannot be parted: it is not there, has no driver, or knows no virtual functions."
    return
  fi
  read -r now <"$device/sriov_numvfs"
  if [ "$now" = "$2" ]; then
    return
  fi
  # Another number is none for a moment: what guests have of it would be gone.
  if [ "$now" != 0 ]; then
    say "$1 has $now virtual functions and is to have $2: that needs a reboot."
  elif ! put "$2" "$device/sriov_numvfs"; then
    say "$1 does not take $2 virtual functions."
  fi
}

# vgpu ADDRESS TYPE: the virtual function is an NVIDIA vGPU of this type.
vgpu() {
  file=$SYS/bus/pci/devices/$1/nvidia/current_vgpu_type
  if ! appears "$file"; then
    say "$1 takes no vGPU type: it is not there, or NVIDIA's vGPU driver has not got it."
    return
  fi
  read -r now <"$file"
  if [ "$now" != "$2" ] && ! put "$2" "$file"; then
    say "$1 does not take vGPU type $2 now."
  fi
}

# mediated ADDRESS TYPE UUID: the card has made this mediated device.
mediated() {
  if [ -e "$SYS/bus/mdev/devices/$3" ]; then
    return
  fi
  file=$SYS/bus/pci/devices/$1/mdev_supported_types/$2/create
  if ! appears "$file"; then
    say "$1 makes no $2: it is not there, or has not got its vendor's driver."
  elif ! put "$3" "$file"; then
    say "$1 has no $2 left for $3."
  fi
}
