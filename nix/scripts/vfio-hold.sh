# hold ADDRESS ID: vfio-pci has the PCI function, if it is the one that it was when it was given to a guest.
# SYS: where sysfs is. For stage 1: no program is called.
hold() {
  device=$SYS/bus/pci/devices/$1
  if ! [ -e "$device" ]; then
    echo "fleet: there is no PCI device at $1; it was to be kept for a guest."
    return 0
  fi
  read -r vendor <"$device/vendor"
  read -r model <"$device/device"
  if [ "${vendor#0x}:${model#0x}" != "$2" ]; then
    echo "fleet: the PCI device at $1 is ${vendor#0x}:${model#0x} and not $2: left alone. Has a card been moved?"
    return 0
  fi
  echo vfio-pci >"$device/driver_override"
  if [ -e "$device/driver" ]; then
    echo "$1" >"$device/driver/unbind"
  fi
  echo "$1" >"$SYS/bus/pci/drivers_probe"
}
