"""The text that read.sh prints -> HostHardware. A host may say anything: what makes no sense is left out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from console.domain.errors import FleetError
from console.domain.hardware import (
    ACCELERATOR_CLASS,
    DISPLAY_CLASS,
    Bar,
    DeviceUser,
    HostHardware,
    HugePages,
    MdevType,
    NumaNode,
    PciFunction,
    VgpuType,
    cpu_numbers,
)
from console.domain.values import shown
from console.drivers.sysfs.use import use_of

ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
BELOW_DEVICE = re.compile(rf"[^:]*?{ADDRESS.pattern}/")
LINK = re.compile(r"(\S+) -> (\S+)$")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VGPU = re.compile(r"(\d{1,9})\s*:\s*(\S.*)")
MOUNT = re.compile(r"\S+ \S+ (\d+:\d+) \S+ (\S+) .*? - \S+ (\S+)")

MEMORY, WIDE = 0x200, 0x100000
"""IORESOURCE_MEM and IORESOURCE_MEM_64 of linux/ioport.h."""
BARS = 6
ROUTE_PATIENCE = 8
"""How many interfaces may lie on one another (VLAN on bridge on bond on card) before we stop following."""

Values = Mapping[str, list[str]]


class _Text:
    """The sections of the text, and the files in it by path."""

    def __init__(self, text: str) -> None:
        self.sections: dict[str, list[str]] = defaultdict(list)
        name = ""
        for line in text.splitlines():
            if line.startswith("== "):
                name = line[3:]
                self.sections[name] = self.sections[name]
            else:
                self.sections[name].append(line)

    def files(self, section: str) -> dict[str, list[str]]:
        """Return path -> lines of what grep printed."""
        found: dict[str, list[str]] = defaultdict(list)
        for line in self.sections[section]:
            path, value = _file(line)
            found[path].append(value)
        return found

    def links(self, section: str) -> list[tuple[str, str]]:
        return [found.groups() for line in self.sections[section] if (found := LINK.search(line))]  # type: ignore[misc]


def _file(line: str) -> tuple[str, str]:
    """Split "PATH:VALUE"; a path below a PCI device has colons of its own."""
    start = found.end() if (found := BELOW_DEVICE.match(line)) else 0
    colon = line.find(":", start)
    return (line, "") if colon < 0 else (line[:colon], line[colon + 1 :])


def parse_hardware(text: str, at: datetime) -> HostHardware:
    """Return what the text says. Raises FleetError when it is not the whole of what read.sh prints."""
    said = _Text(text)
    if "end" not in said.sections or "values" not in said.sections:
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
        raise FleetError(
            "The host did not tell its hardware.",
            f"Its answer ends with {shown(last, 200)}." if last else "It answered nothing.",
            "Its shell must run sh, and /sys must be mounted there.",
        )
    values = said.files("values")
    host = said.files("host")
    found = _Functions(said, values)
    groups = said.sections["groups"]
    processor = _line_with(host, "cpuinfo", "vendor_id")
    widths = re.search(r"(\d+) bits physical", _line_with(host, "cpuinfo", "address sizes"))
    available = re.search(r"(\d+) kB", _line_with(host, "meminfo", "MemAvailable"))
    interrupts = [line for path, lines in host.items() if path.endswith("/interrupts") for line in lines]
    return HostHardware(
        at=at,
        functions=found.all(),
        root_known=found.root_known,
        iommu=bool(groups),
        interrupt_remapping=any(" IR-" in line for line in interrupts) if interrupts else None,
        unsafe_interrupts=_yes(_value(host, "allow_unsafe_interrupts")),
        kernel=_word(_value(host, "osrelease")),
        cmdline=_clean(_value(host, "cmdline"), 4096),
        cpu_vendor=_word(processor.rpartition(":")[2].strip()),
        physical_bits=int(widths[1]) if widths else None,
        memory_available_kib=int(available[1]) if available else None,
        framebuffer=_clean(_value(host, "fb").partition(" ")[2], 60),
        nodes=_nodes(said.files("nodes")),
        hugepages=_hugepages(said.files("nodes")),
    )


class _Functions:
    """Puts together what the sections say of each PCI function."""

    def __init__(self, said: _Text, values: Values) -> None:
        self.said = said
        self.values = values
        self.addresses = sorted(
            {path[: found.end()] for path in values if (found := ADDRESS.match(path)) and path.endswith("/vendor")}
        )
        self.links = {path: target.rpartition("/")[2] for path, target in said.links("links")}
        self.roms = {line.rpartition("/")[0] for line in said.sections["roms"]}
        self.of_class: dict[str, dict[str, str]] = defaultdict(dict)
        self.mdevs: dict[str, list[str]] = defaultdict(list)
        for path, target in said.links("classes"):
            addresses = ADDRESS.findall(target)
            parts, name = path.split("/"), path.rpartition("/")[2]
            if not addresses or len(parts) < 3:
                continue
            if "mdev" in parts and UUID.fullmatch(name):
                self.mdevs[addresses[-1]].append(name)
            elif "class" in parts:
                self.of_class[parts[-2]][name] = addresses[-1]
        self.users = self._users()
        self.root_known = False
        self.carried = self._carried()

    def all(self) -> tuple[PciFunction, ...]:
        found = (self._function(address) for address in self.addresses)
        return tuple(function for function in found if function is not None)

    def _function(self, address: str) -> PciFunction | None:
        vendor, device, kind = (self._hex(address, name) for name in ("vendor", "device", "class"))
        if vendor is None or device is None or kind is None or max(vendor, device) > 0xFFFF or kind > 0xFFFFFF:
            return None
        subsystem = [self._hex(address, f"subsystem_{name}") for name in ("vendor", "device")]
        node = self._number(address, "numa_node")
        methods = self._text(address, "reset_method")
        override = self._text(address, "driver_override")
        vgpu = self._text(address, "nvidia/current_vgpu_type")
        return PciFunction(
            address=address,
            vendor_id=f"{vendor:04x}",
            device_id=f"{device:04x}",
            class_code=kind,
            subsystem=f"{subsystem[0]:04x}:{subsystem[1]:04x}" if all(subsystem) else None,
            driver=_word(self.links.get(f"{address}/driver", "")) or None,
            driver_override=_word(override or "") if override and override != "(null)" else None,
            group=self._group(address),
            numa_node=node if node is not None and node >= 0 else None,
            cpus=_cpus(self._text(address, "local_cpulist") or ""),
            bars=self._bars(address),
            reset_methods=tuple(_word(word) for word in methods.split()) if methods is not None else None,
            boot_vga=_yes(self._text(address, "boot_vga")),
            d3cold_allowed=_yes(self._text(address, "d3cold_allowed")),
            power=_word(self._text(address, "power_state") or ""),
            use=use_of(self.values, address) if kind >> 16 in (DISPLAY_CLASS, ACCELERATOR_CLASS) else None,
            has_rom=address in self.roms,
            sriov_total=self._number(address, "sriov_totalvfs") or 0,
            sriov_active=self._number(address, "sriov_numvfs") or 0,
            physical=self._linked(address, "physfn"),
            virtual=self._virtual(address),
            mdev_types=self._mdev_types(address),
            mdevs=tuple(sorted(self.mdevs[address])),
            vgpu_types=self._vgpu_types(address),
            vgpu_current=int(vgpu) if vgpu is not None and vgpu.isdigit() else None,
            users=self.users.get(address, ()) if self.users is not None else None,
            networks=self._behind("net", address),
            disks=tuple(name for name in self._behind("block", address) if not self._is_partition(name)),
            carries=tuple(dict.fromkeys(self.carried[address])),
        )

    def _text(self, address: str, name: str) -> str | None:
        lines = self.values.get(f"{address}/{name}")
        return lines[0].strip() if lines else None

    def _hex(self, address: str, name: str) -> int | None:
        text = self._text(address, name) or ""
        return int(text, 16) if re.fullmatch(r"0x[0-9a-f]{1,16}", text) else None

    def _number(self, address: str, name: str) -> int | None:
        text = self._text(address, name) or ""
        return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None

    def _linked(self, address: str, name: str) -> str | None:
        target = self.links.get(f"{address}/{name}", "")
        return target if ADDRESS.fullmatch(target) else None

    def _group(self, address: str) -> int | None:
        target = self.links.get(f"{address}/iommu_group", "")
        return int(target) if target.isdigit() and len(target) < 10 else None

    def _virtual(self, address: str) -> tuple[str, ...]:
        found = {}
        for path, target in self.links.items():
            number = path.removeprefix(f"{address}/virtfn")
            if number != path and number.isdigit() and ADDRESS.fullmatch(target):
                found[int(number)] = target
        return tuple(found[number] for number in sorted(found))

    def _bars(self, address: str) -> tuple[Bar, ...]:
        bars = []
        for index, line in enumerate(self.values.get(f"{address}/resource", [])[:BARS]):
            numbers = line.split()
            if len(numbers) != 3 or not all(re.fullmatch(r"0x[0-9a-f]{1,16}", number) for number in numbers):
                continue
            start, end, flags = (int(number, 16) for number in numbers)
            if not flags & MEMORY or end <= start:
                continue
            sizes = self._hex(address, f"resource{index}_resize")
            if sizes is None and (text := self._text(address, f"resource{index}_resize")):
                sizes = int(text, 16) if re.fullmatch(r"[0-9a-f]{1,16}", text) else None
            possible = tuple(1 << (20 + bit) for bit in range(44) if (sizes or 0) >> bit & 1)
            bars.append(Bar(index=index, size_bytes=end - start + 1, wide=bool(flags & WIDE), resizable_bytes=possible))
        return tuple(bars)

    def _mdev_types(self, address: str) -> tuple[MdevType, ...]:
        start = f"{address}/mdev_supported_types/"
        ids = sorted({path.removeprefix(start).partition("/")[0] for path in self.values if path.startswith(start)})
        return tuple(
            MdevType(
                id=name,
                name=_clean(self._text(address, f"mdev_supported_types/{name}/name") or "", 80),
                available=self._number(address, f"mdev_supported_types/{name}/available_instances"),
            )
            for name in ids
            if re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", name)
        )

    def _vgpu_types(self, address: str) -> tuple[VgpuType, ...] | None:
        lines = self.values.get(f"{address}/nvidia/creatable_vgpu_types")
        if lines is None:
            return None
        matches = (VGPU.fullmatch(line.strip()) for line in lines)
        return tuple(VgpuType(id=int(found[1]), name=_clean(found[2], 80)) for found in matches if found)

    def _behind(self, kind: str, address: str) -> tuple[str, ...]:
        return tuple(sorted(_word(name) for name, owner in self.of_class[kind].items() if owner == address))

    def _is_partition(self, name: str) -> bool:
        owner = self.of_class["block"].get(name)
        return any(
            other != name and owner == place and re.fullmatch(re.escape(other) + r"p?[0-9]+", name)
            for other, place in self.of_class["block"].items()
        )

    def _users(self) -> dict[str, tuple[DeviceUser, ...]] | None:
        """Return address -> processes; None when the account there may not look at others' files."""
        if [line.strip() for line in self.said.sections["user"]] != ["0"]:
            return None
        files = {f"/dev/dri/{name}": [address] for name, address in self.of_class["drm"].items()}
        for path, lines in self.said.files("nvidia").items():
            minor = lines[0].rpartition(":")[2].strip()
            if (found := ADDRESS.search(path)) and minor.isdigit():
                files[f"/dev/nvidia{minor}"] = [found[0]]
        for address in self.addresses:
            if (group := self._group(address)) is not None:
                files.setdefault(f"/dev/vfio/{group}", []).append(address)
        names = {}
        for path, lines in self.said.files("processes").items():
            if found := re.search(r"/proc/(\d+)/comm$", path):
                names[found[1]] = _clean(lines[0], 40)
        users: dict[str, dict[tuple[int, str], DeviceUser]] = defaultdict(dict)
        pid = ""
        for line in self.said.sections["holders"]:
            if found := re.search(r"/proc/(\d+)/fd:$", line):
                pid = found[1]
            elif (link := LINK.search(line)) and pid:
                for address in files.get(link[2], ()):
                    user = DeviceUser(pid=int(pid), process=names.get(pid, ""), path=link[2])
                    users[address][int(pid), link[2]] = user
        return {address: tuple(found.values()) for address, found in users.items()}

    def _carried(self) -> dict[str, list[str]]:
        """Return address -> what of the host itself would be gone with it."""
        carried: dict[str, list[str]] = defaultdict(list)
        below = self._below()
        # A mount's source may be an alias (/dev/mapper/...); its number is the kernel's own. Where that is no block
        # device's (btrfs), the source is all there is.
        numbers = {lines[0].strip(): path.split("/")[-2] for path, lines in self.said.files("numbers").items()}
        for line in self.said.sections["mounts"]:
            if not (found := MOUNT.match(line)):
                continue
            number, place, source = found.groups()
            name = numbers.get(number) or source.rpartition("/")[2]
            what = {"/": "the root file system", "/boot": "/boot", "/nix": "/nix", "/nix/store": "/nix/store"}
            told = what.get(place, f"the file system at {_clean(place, 60)}")
            for lower in below(name):
                if address := self.of_class["block"].get(lower):
                    carried[address].append(f"{told} ({_word(lower)})")
                    self.root_known = self.root_known or place == "/"
        for line in self.said.sections["swaps"]:
            for lower in below(line.split()[0].rpartition("/")[2]):
                if address := self.of_class["block"].get(lower):
                    carried[address].append(f"swap ({_word(lower)})")
        for line in self.said.sections["way"]:
            if found := re.search(r" dev (\S+)", line):
                for lower in below(found[1]):
                    if address := self.of_class["net"].get(lower):
                        carried[address].append(f"the SSH connection to this console ({_word(lower)})")
        return carried

    def _below(self) -> Lower:
        lower: dict[str, list[str]] = defaultdict(list)
        for line in self.said.sections["lower"]:
            parts = line.split("/")
            if "net" in parts and parts[-1].startswith("lower_"):
                lower[parts[-2]].append(parts[-1].removeprefix("lower_"))
            elif len(parts) > 3 and parts[-2] == "slaves":
                lower[parts[-3]].append(parts[-1])
        return Lower(lower)


class Lower:
    """What an interface or a block device rests on, down to the last."""

    def __init__(self, lower: Mapping[str, Iterable[str]]) -> None:
        self._lower = lower

    def __call__(self, name: str) -> tuple[str, ...]:
        """Return the name and everything below it, each once."""
        found, todo = {name: None}, [name]
        for _ in range(ROUTE_PATIENCE):
            todo = [low for name in todo for low in self._lower.get(name, ()) if low not in found]
            found |= dict.fromkeys(todo)
        return tuple(found)


def _value(files: Values, name: str) -> str:
    return next((lines[0].strip() for path, lines in files.items() if path.endswith(f"/{name}") and lines), "")


def _line_with(files: Values, name: str, start: str) -> str:
    lines = (line for path, lines in files.items() if path.endswith(f"/{name}") for line in lines)
    return next((line for line in lines if line.startswith(start)), "")


def _yes(text: str | None) -> bool | None:
    return {"1": True, "Y": True, "0": False, "N": False}.get(text or "")


def _word(text: str) -> str:
    """Return a name of the kernel's, "" when it could be none."""
    return text if re.fullmatch(r"[A-Za-z0-9_.:@+-]{1,80}", text) else ""


def _clean(text: str, limit: int) -> str:
    return "".join(char for char in text.strip() if char.isprintable())[:limit]


def _cpus(text: str) -> str:
    try:
        cpu_numbers(text)
    except ValueError:
        return ""
    return text


def _nodes(files: Values) -> tuple[NumaNode, ...]:
    sizes = {}
    for path, lines in files.items():
        if match := re.search(r"/node(\d{1,4})/meminfo$", path):
            size = re.search(r"MemTotal:\s+(\d{1,15}) kB", lines[0])
            sizes[match[1]] = int(size[1]) if size else None
    return tuple(
        NumaNode(id=int(match[1]), cpus=_cpus(lines[0].strip()), memory_kib=sizes.get(match[1]))
        for path, lines in sorted(files.items())
        if (match := re.search(r"/node(\d{1,4})/cpulist$", path))
    )


def _hugepages(files: Values) -> tuple[HugePages, ...]:
    found: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    for path, lines in files.items():
        match = re.search(r"/node(\d{1,4})/hugepages/hugepages-(\d{1,9})kB/(nr|free)_hugepages$", path)
        if match and re.fullmatch(r"[0-9]{1,12}", lines[0].strip()):
            found[int(match[1]), int(match[2])][match[3]] = int(lines[0])
    return tuple(
        HugePages(node=node, size_kib=size, total=counts.get("nr", 0), free=counts.get("free", 0))
        for (node, size), counts in sorted(found.items())
    )
