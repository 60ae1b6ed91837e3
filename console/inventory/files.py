"""The inventory's files: read whole with every fault named, edited with comments and order kept.

fleet.toml, hosts/<host>.toml   what is wanted
generated/                      what was generated from it
"""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import rtoml
from pydantic import BaseModel, ValidationError

from console.domain import model
from console.domain.checks import Breach, fleet_breaches, host_breaches
from console.domain.errors import Fault, FleetError, InventoryError
from console.domain.values import parse_name, shown
from console.inventory.lines import line_of
from console.inventory.schema import FleetTable, HostTable, fleet_of, host_of
from console.inventory.sound import SOUND, key_of
from console.inventory.tables import fleet_table, host_table
from console.inventory.writing import write_files as write_files

FLEET_FILE = "fleet.toml"
HOSTS_DIR = "hosts"
MAX_FILE_BYTES = 32 * 1024 * 1024

REREADS = 3
"""A change of several files that is being written just now looks like a mistake: at once it reads differently."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was read. A host whose file has faults is missing from `fleet` and named in `faults`.

    texts: file name -> content, exactly as read; what a later write compares with.
    """

    folder: Path
    fleet: model.Fleet
    faults: tuple[Fault, ...]
    texts: Mapping[str, str]

    def require_sound(self) -> None:
        """Raise InventoryError naming every fault, if there is any."""
        if self.faults:
            raise InventoryError(
                f"The inventory {self.folder} has {len(self.faults)} "
                + ("mistake." if len(self.faults) == 1 else "mistakes."),
                self.faults,
                "Mend the file, then try again. Nothing was changed.",
            )


def read_inventory(folder: Path) -> Inventory:
    """Read and check the whole inventory. Raises FleetError when there is none or fleet.toml cannot be used."""
    inventory = _read_once(folder)
    for _ in range(REREADS):
        if not inventory.faults or (again := _read_once(folder)).texts == inventory.texts:
            break
        inventory = again
    return inventory


def _read_once(folder: Path) -> Inventory:
    if not (folder / FLEET_FILE).is_file():
        raise no_inventory(folder)
    names = [FLEET_FILE]
    try:
        names += sorted(f"{HOSTS_DIR}/{path.name}" for path in (folder / HOSTS_DIR).iterdir() if _is_host_file(path))
    except FileNotFoundError:
        pass  # no host yet
    except OSError as error:
        raise FleetError(f"{HOSTS_DIR} cannot be read.", f"{error.strerror} ({folder / HOSTS_DIR}).") from None
    # A host that was removed since the folder was read is none.
    texts = {name: text for name in names if (text := _read(folder / name, name)) is not None}
    if FLEET_FILE not in texts:
        raise no_inventory(folder)
    return parse_inventory(folder, texts)


def parse_inventory(folder: Path, texts: Mapping[str, str]) -> Inventory:
    """Return the inventory that these texts are; raises as read_inventory does."""
    with uncollected():
        return _parsed(folder, texts)


def _parsed(folder: Path, texts: Mapping[str, str]) -> Inventory:
    faults: list[Fault] = []
    head = texts[FLEET_FILE]
    table = _parse(FLEET_FILE, head, FleetTable, faults)
    if table is None:
        raise InventoryError(f"{folder / FLEET_FILE} cannot be used.", tuple(faults))
    fleet = fleet_of(table)
    hosts: dict[str, model.Host] = {}
    found: list[Breach] = []
    for name, text in texts.items():
        if name == FLEET_FILE:
            continue
        host_name = name.removeprefix(f"{HOSTS_DIR}/").removesuffix(".toml")
        try:
            parse_name(host_name)
        except ValueError as error:
            faults.append(Fault(name, None, "", str(error)))
            continue
        key = key_of(head, host_name, text)
        if (sound := SOUND.find(key)) is not None:
            hosts[host_name] = sound
        elif (found_table := _parse(name, text, HostTable, faults)) is not None:
            host = hosts[host_name] = host_of(host_name, found_table, fleet)
            if breaches := list(host_breaches(fleet, host)):
                found += breaches
            else:
                SOUND.add(key, host, len(text))
    SOUND.trim(len(texts))
    for breach in [*fleet_breaches(_with_hosts(fleet, hosts)), *found]:
        name = FLEET_FILE if breach.host is None else host_file_name(breach.host)
        faults.append(Fault(name, line_of(texts[name], breach.path), ".".join(breach.path), breach.message))
        if breach.host is not None:
            hosts.pop(breach.host, None)
    return Inventory(folder, _with_hosts(fleet, hosts), tuple(faults), texts)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python from looking for garbage: of the hundred thousand objects that a fleet is made of none is, and
    looking through them over and over takes as long as making them.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def host_file_name(host: str) -> str:
    """Return the name of a host's file inside the inventory."""
    return f"{HOSTS_DIR}/{host}.toml"


def host_name(file: str) -> str | None:
    """Return the host whose file this is; None for fleet.toml and what is no host's."""
    folder, slash, name = file.rpartition("/")
    return name.removesuffix(".toml") if slash and folder == HOSTS_DIR else None


def changed_texts(inventory: Inventory, after: model.Fleet) -> dict[str, str | None]:
    """Return the files that differ when the fleet becomes `after` (None = deleted), comments and order kept.

    The texts are read back and must mean exactly `after`; raises FleetError naming what is wrong if not.
    """
    from console.inventory.edit import edited_text, new_text  # loaded with the first change: most runs make none

    before, texts = inventory.fleet, inventory.texts
    changes: dict[str, str | None] = {}
    if fleet_table(before) != fleet_table(after):
        changes[FLEET_FILE] = edited_text(texts[FLEET_FILE], fleet_table(before), fleet_table(after))
    for name in before.hosts.keys() | after.hosts.keys():
        file, old, new = host_file_name(name), before.hosts.get(name), after.hosts.get(name)
        if old == new:
            continue
        if new is None:
            changes[file] = None
        elif old is None:
            changes[file] = new_text(host_table(new), f"{name}: a host of {after.name}, and the guests at home there.")
        else:
            # The default URI follows the address: where somebody spelled it out, the old one goes.
            spelled = {"uri": old.uri} if old.address != new.address else {}
            changes[file] = edited_text(texts[file], spelled | host_table(old), host_table(new))
    result = {name: text for name, text in (dict(texts) | changes).items() if text is not None}
    read_back = parse_inventory(inventory.folder, result)
    read_back.require_sound()
    if read_back.fleet != after:
        raise FleetError(
            "The change could not be written faithfully.",
            "What was written reads back differently. Nothing was changed.",
            "This is a defect of Quarterdeck: please report it with the file.",
        )
    return changes


def no_inventory(folder: Path) -> FleetError:
    """Return the error for a folder without an inventory."""
    return FleetError(
        f"There is no inventory in {folder}.",
        f"{folder / FLEET_FILE} does not exist.",
        f"Make one with: qd init {folder}   or look at the demo fleet with: qd demo",
    )


def _is_host_file(path: Path) -> bool:
    return path.name.endswith(".toml") and not path.name.startswith(".")


def _with_hosts(fleet: model.Fleet, hosts: Mapping[str, model.Host]) -> model.Fleet:
    return replace(fleet, hosts={name: hosts[name] for name in sorted(hosts)})


def _read(path: Path, name: str) -> str | None:
    """Return a file's text, None when there is none (a link to nothing is an error)."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FleetError(f"{name} is larger than {MAX_FILE_BYTES // 1024**2} MiB.", str(path))
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise FleetError(
            f"{name} is not UTF-8 text.", f"Byte {error.start} of {path} cannot be read.", "Save it as UTF-8."
        ) from None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return None
        raise FleetError(f"{name} cannot be read.", f"{error.strerror} ({path}).") from None


def _parse(name: str, text: str, kind: type[M], faults: list[Fault]) -> M | None:
    try:
        table = rtoml.loads(text)
    except rtoml.TomlParsingError as error:
        faults.append(_syntax_fault(name, str(error)))
        return None
    version = table.get("version")
    if kind is FleetTable and isinstance(version, int) and version != model.INVENTORY_VERSION:
        what = "newer than this Quarterdeck reads" if version > model.INVENTORY_VERSION else "not known"
        why = f"version {version} is {what} ({model.INVENTORY_VERSION})."
        faults.append(Fault(name, line_of(text, ("version",)), "version", why + " Install a newer Quarterdeck."))
        return None
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            path = tuple(str(part) for part in fault["loc"] if part != "[key]")
            place = tuple(part for part in path if not part.isdigit())
            faults.append(Fault(name, line_of(text, place), ".".join(path), _explain(dict(fault), kind)))
        return None


def _syntax_fault(name: str, message: str) -> Fault:
    """Turn rtoml's message ("WHY at line 21 column 10") into a fault with its line."""
    found = re.search(r"\s*(?:at )?line (\d+),? column \d+", message)
    why = " ".join((message[: found.start()] + message[found.end() :] if found else message).split())
    return Fault(name, int(found.group(1)) if found else None, "", f"this is not TOML: {shown(why, 300)[1:-1]}.")


def _explain(fault: Mapping[str, object], kind: type[BaseModel]) -> str:
    """Return pydantic's finding in the words of the inventory."""
    value = fault.get("input")
    given = shown(value) if isinstance(value, str) else "this"
    match fault["type"]:
        case "missing":
            return "is missing."
        case "extra_forbidden":
            return "is not a key that is known here. Is it misspelled, or in the wrong table?"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{given} is not a whole number; write it without quotes."
        case "bool_type":
            return f"{given} is neither true nor false; write it without quotes."
        case "list_type":
            return f'{given} is not a list; write ["...", "..."].'
        case "dict_type" | "model_type":
            return f"{given} is not a table."
        case "string_type":
            return "must be text in quotes."
    return str(fault["msg"])
