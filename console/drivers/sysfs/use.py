"""How much cards work for their host: from the files of their drivers, and from the words of NVIDIA's own tool."""

from __future__ import annotations

import re
from collections.abc import Mapping

from console.domain.hardware import Use

NVIDIA = b"""\
command -v nvidia-smi >/dev/null 2>&1 || exit 0
exec nvidia-smi --format=csv,noheader,nounits \\
  --query-gpu=pci.bus_id,utilization.gpu,power.draw,temperature.gpu,memory.used,memory.total
"""
"""A line for each card; nothing on a host without the tool."""

BUS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([01][0-9a-f])\.([0-7])")
MIB = 1024**2


def use_of(values: Mapping[str, list[str]], address: str) -> Use | None:
    """Return what the driver's files say of a function, None when they say nothing. values: of the script's text."""
    files = {path.rpartition("/")[2]: lines for path, lines in values.items() if path.startswith(f"{address}/")}

    def number(*names: str) -> float | None:
        return next((found for name in names if (found := _number(files.get(name, [""])[0])) is not None), None)

    busy, power, heat = number("gpu_busy_percent"), number("power1_average", "power1_input"), number("temp1_input")
    used, total = number("mem_info_vram_used"), number("mem_info_vram_total")
    if busy is power is heat is total is None:
        return None
    return Use(
        busy_percent=_percent(busy),
        power_w=None if power is None else power / 1e6,
        temperature_c=None if heat is None else heat / 1e3,
        memory_used_bytes=None if used is None else int(used),
        memory_bytes=None if total is None else int(total),
    )


def nvidia_use(text: str) -> dict[str, Use]:
    """Return function -> use from what nvidia-smi prints; what makes no sense is left out."""
    found: dict[str, Use] = {}
    for line in text.splitlines():
        bus, *figures = (part.strip() for part in line.split(","))
        place = BUS.fullmatch(bus.lower())
        if place is None or len(figures) != 5:
            continue
        busy, power, heat, used, total = map(_number, figures)
        domain, *rest = place.groups()
        found[f"{int(domain, 16):04x}:{rest[0]}:{rest[1]}.{rest[2]}"] = Use(
            busy_percent=_percent(busy),
            power_w=power,
            temperature_c=heat,
            memory_used_bytes=None if used is None else int(used * MIB),
            memory_bytes=None if total is None else int(total * MIB),
        )
    return found


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?\d{1,15}(\.\d{1,6})?", text.strip()) else None


def _percent(value: float | None) -> int | None:
    return None if value is None or not 0 <= value <= 100 else round(value)
