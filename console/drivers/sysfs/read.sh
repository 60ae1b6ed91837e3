# Prints what the kernel says of the PCI devices and of the host. Reads only, and starts few processes: sh, ls, grep
# and ip are all it needs. Who holds a device can be told by root alone. SYSROOT stands for another root in tests.
LC_ALL=C
export LC_ALL
r=${SYSROOT-}
all() { grep -sH '' "$@"; }
links() { ls -ld "$@" 2>/dev/null | grep -e ' -> '; }
names() { ls -d "$@" 2>/dev/null; }

echo "== user"
id -u
if cd "$r/sys/bus/pci/devices" 2>/dev/null; then
  echo "== values"
  all */vendor */device */subsystem_vendor */subsystem_device */class */boot_vga */numa_node */local_cpulist \
    */d3cold_allowed */power_state */reset_method */driver_override */resource */resource[0-5]_resize \
    */sriov_totalvfs */sriov_numvfs */mdev_supported_types/*/name */mdev_supported_types/*/available_instances \
    */nvidia/creatable_vgpu_types */nvidia/current_vgpu_type \
    */gpu_busy_percent */mem_info_vram_used */mem_info_vram_total \
    */hwmon/hwmon*/power1_average */hwmon/hwmon*/power1_input */hwmon/hwmon*/temp1_input
  echo "== links"
  links */driver */iommu_group */physfn */virtfn*
  echo "== roms"
  names */rom
fi
echo "== groups"
names "$r"/sys/kernel/iommu_groups/*/devices/*
echo "== classes"
links "$r"/sys/class/net/* "$r"/sys/class/block/* "$r"/sys/class/drm/* "$r"/sys/bus/mdev/devices/*
echo "== lower"
names "$r"/sys/class/net/*/lower_* "$r"/sys/class/block/*/slaves/*
echo "== numbers"
all "$r"/sys/class/block/*/dev
echo "== mounts"
grep -se ' - ' "$r/proc/self/mountinfo"
echo "== swaps"
grep -se '^/' "$r/proc/swaps"
echo "== way"
if [ -n "${SSH_CONNECTION-}" ]; then ip -o route get "${SSH_CONNECTION%% *}" 2>/dev/null; fi
echo "== nvidia"
all "$r"/proc/driver/nvidia/gpus/*/information | grep -e 'Device Minor'
echo "== holders"
ls -lR "$r"/proc/[0-9]*/fd 2>/dev/null | grep -E -e ':$' -e ' -> /dev/(dri|nvidia|vfio)'
echo "== processes"
all "$r"/proc/[0-9]*/comm
echo "== host"
all "$r/proc/sys/kernel/osrelease" "$r/proc/cmdline" "$r/proc/fb" \
  "$r/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
grep -sHm1 -e '^vendor_id' "$r/proc/cpuinfo"
grep -sHm1 -e '^address sizes' "$r/proc/cpuinfo"
grep -sH -e '^MemAvailable' "$r/proc/meminfo"
grep -sHm1 -e ' IR-' "$r/proc/interrupts"
grep -sHm1 -e ':' "$r/proc/interrupts"
echo "== nodes"
all "$r"/sys/devices/system/node/node*/cpulist
grep -sH -e 'MemTotal' "$r"/sys/devices/system/node/node*/meminfo
all "$r"/sys/devices/system/node/node*/hugepages/hugepages-*kB/*_hugepages
echo "== end"
