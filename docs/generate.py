"""Writes docs/keys.md from the registry of actions and docs/inventory.md from the schema. Run it after changing one."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

NOTE = "<!-- Written by docs/generate.py: do not edit. -->\n\n"

TYPES = {
    "Name": "name",
    "Mac": 'MAC address, `"52:54:00:10:00:0a"`',
    "Address": 'address with prefix, `"10.0.0.11/24"`',
    "Ip": 'address, `"10.0.0.1"`',
    "Subnet": 'network, `"10.0.0.0/24"`',
    "SizeKib": 'size, `"32 GiB"`',
    "PciSlot": 'PCI slot, `"0000:65:00"`',
    "PciId": 'vendor and device, `"10de:2206"`',
    "PciFunction": 'PCI function, `"0000:3b:00.0"`',
    "PciPlace": "PCI slot or function",
    "UsbId": 'vendor and product, `"046d:c52b"`',
    "MdevType": 'type, `"nvidia-63"`',
    "Rom": '`"off"`, or an absolute path on the host',
    "CpuList": 'CPUs, `"16-23"`',
    "ExtraXml": "XML",
    "Uuid": "uuid",
    "SshKey": 'public key, `"ssh-ed25519 AAAA..."`',
    "HostPath": "absolute path on the host",
    "Uri": "libvirt URI",
    "Bridge": "network interface",
    "StableDisk": 'disk, `"/dev/disk/by-id/..."`',
    "Url": 'URL, `"https://..."`',
    "Sha256": 'hash, `"sha256-...="`',
    "Line": "text, one line",
    "str": "text",
    "int": "whole number",
    "bool": "`true` or `false`",
}
TABLES = [
    "FleetTable",
    "DefaultsTable",
    "SshTable",
    "NetworkTable",
    "PoolTable",
    "ResourceTable",
    "UserTable",
    "HostTable",
]
TABLES += [
    "OwnTable",
    "HardwareTable",
    "GuestTable",
    "DiskTable",
    "SourceTable",
    "NicTable",
    "DeviceTable",
    "UsbTable",
    "KernelTable",
]
TABLES += ["NetbootTable", "NetbootEntryTable"]


def keys() -> str:
    """Return docs/keys.md."""
    from console.domain.plan import Danger
    from screens.action import Group
    from screens.actions import ACTIONS
    from screens.keymap import SCREENS, own_bindings

    lines = [
        "# Keys\n",
        "Every action is also in the command bar (`:`), and `?` shows those of the screen you are in.\n",
    ]
    for group in Group:
        lines += [f"## {group.value}\n", "| key | action | what it does | where |", "|---|---|---|---|"]
        for action in ACTIONS:
            if action.group is group:
                asks = {Danger.CONFIRM: " It asks first.", Danger.TYPE_NAME: " It asks for the name."}
                more = "" if "asks" in action.help else asks.get(action.danger, "")
                where = ", ".join(sorted(context.value for context in action.where))
                key = f"`{action.shown}`" if action.shown else "`:`"
                lines.append(f"| {key} | {action.label} | {action.help}{more} | {where} |")
        lines.append("")
    lines += [
        "## Your own keys\n",
        "`$XDG_CONFIG_HOME/quarterdeck/keys.toml` (`~/.config/quarterdeck/keys.toml`) gives actions other keys, by",
        'their ids: `create = "ctrl+n"`. Several are separated by commas. An action that does not exist and a key',
        "that is taken twice are refused with a sentence. The ids:\n",
        ", ".join(f"`{action.id}`" for action in ACTIONS if action.keys) + "\n",
        "These screens have keys besides, or of their own:\n",
        *(
            f"- {name}: " + ", ".join(f"`{each.id}` ({each.key.replace(',', ' or ')})" for each in own_bindings(name))
            for name in SCREENS
        ),
        "",
        "When the file has a mistake the console opens with the usual keys, and says what is wrong with it.\n",
        "## Your own theme\n",
        "`T` puts on the next theme: `dark`, `light`, `contrast`, `terminal`. It is kept as `theme` in",
        "`$XDG_CONFIG_HOME/quarterdeck/settings.toml`; `QUARTERDECK_THEME` and `--theme` go before it. A terminal of",
        "16 colours (`TERM=screen`, `TERM=linux`) has `terminal`, which keeps to its palette; with `NO_COLOR` set",
        "there is no colour at all. What is said by colour is always said by a sign and a word as well.",
    ]
    return NOTE + "\n".join(lines)


def inventory() -> str:
    """Return docs/inventory.md. Raises ValueError for a key without a docstring."""
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "console" / "inventory").glob("*schema.py"))
    classes = {node.name: node for text in sources for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    lines = [
        "# The inventory's files\n",
        "`fleet.toml` is the fleet, `hosts/NAME.toml` one host and its guests. Keys that are not known here",
        "are refused; `qd check` names every mistake with file, line and key.",
        "`demo/fleet/` is an example with comments.\n",
    ]
    for name in TABLES:
        node = classes[name]
        heading = (ast.get_docstring(node) or "").splitlines()[0]
        title, _, rest = heading.partition("]: ") if heading.startswith("[") else (heading, "", "")
        title += "]" if rest else ""
        lines += [f"## `{title}`\n" if name != "SourceTable" else "## `source` of a disk\n"]
        if rest or name == "SourceTable":
            lines += [f"{rest[:1].upper()}{rest[1:]}\n" if rest else f"{heading}\n"]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        for field, told in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                if not (isinstance(told, ast.Expr) and isinstance(told.value, ast.Constant)):
                    raise ValueError(f"{name}.{field.target.id} has no docstring")
                kind = _kind(field.annotation)
                lines.append(f"| `{field.target.id}` | {kind} | {_default(field.value)} | {told.value.value} |")
        lines.append("")
    return NOTE + "\n".join(lines)


def _kind(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return _kind(node.left)  # "| None" only means that it may be left out
    if isinstance(node, ast.Name):
        return TYPES.get(node.id, "table")
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice
        match node.value.id:
            case "list":
                return f"list of: {_kind(inner)}"
            case "dict":
                key, value = inner.elts if isinstance(inner, ast.Tuple) else (inner, inner)
                what = _kind(value)
                return "tables by name" if what == "table" else f"table: {_kind(key)} = {what}"
            case "Literal":
                choices = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return " or ".join(f'`"{c.value}"`' for c in choices if isinstance(c, ast.Constant))
            case "Annotated" if isinstance(inner, ast.Tuple):
                return _kind(inner.elts[0])
    return ast.unparse(node)


def _default(node: ast.expr | None) -> str:
    if node is None:
        return "must be given"
    if isinstance(node, ast.Constant) and node.value is not None and node.value != "":
        return f"`{str(node.value).lower()}`" if isinstance(node.value, bool) else f'`"{node.value}"`'
    return ""


PAGES = {"keys.md": keys, "inventory.md": inventory}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), encoding="utf-8")
