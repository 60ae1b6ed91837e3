"""The kinds of values that the inventory's tables hold, each refused with a sentence of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from console.domain import values
from console.domain.extra_xml import parse_extra_xml


def sentence(parse: Callable[[str], object]) -> Callable[[object], object]:
    """Wrap a parser so that its own sentence, and nothing of pydantic's, reaches the operator."""

    def run(value: object) -> object:
        if not isinstance(value, str):
            raise PydanticCustomError("value", "must be text in quotes")
        try:
            return parse(value)
        except ValueError as error:
            raise PydanticCustomError("value", "{why}", {"why": str(error)}) from None

    return run


Name = Annotated[str, BeforeValidator(sentence(values.parse_name))]
Mac = Annotated[str, BeforeValidator(sentence(values.parse_mac))]
Address = Annotated[str, BeforeValidator(sentence(values.parse_address))]
Ip = Annotated[str, BeforeValidator(sentence(values.parse_ip))]
Subnet = Annotated[str, BeforeValidator(sentence(values.parse_subnet))]
SizeKib = Annotated[int, BeforeValidator(sentence(values.parse_size_kib))]
PciSlot = Annotated[str, BeforeValidator(sentence(values.parse_pci_slot))]
PciId = Annotated[str, BeforeValidator(sentence(values.parse_pci_id))]
Uuid = Annotated[str, BeforeValidator(sentence(values.parse_uuid))]
SshKey = Annotated[str, BeforeValidator(sentence(values.parse_ssh_key))]
HostPath = Annotated[str, BeforeValidator(sentence(values.parse_absolute_path))]
Uri = Annotated[str, BeforeValidator(sentence(values.parse_uri))]
StableDisk = Annotated[str, BeforeValidator(sentence(values.parse_stable_disk))]
Url = Annotated[str, BeforeValidator(sentence(values.parse_url))]
Sha256 = Annotated[str, BeforeValidator(sentence(values.parse_sha256))]
Bridge = Annotated[str, BeforeValidator(sentence(values.parse_interface_name))]
PciFunction = Annotated[str, BeforeValidator(sentence(values.parse_pci_function))]
PciPlace = Annotated[str, BeforeValidator(sentence(values.parse_pci_place))]
UsbId = Annotated[str, BeforeValidator(sentence(values.parse_usb_id))]
MdevType = Annotated[str, BeforeValidator(sentence(values.parse_mdev_type))]
Rom = Annotated[str, BeforeValidator(sentence(values.parse_rom))]
CpuList = Annotated[str, BeforeValidator(sentence(values.parse_cpu_list))]
ExtraXml = Annotated[str, BeforeValidator(sentence(parse_extra_xml))]


def _one_line(value: str) -> str:
    if len(value) > 1000 or not value.isprintable():
        raise PydanticCustomError("value", "must be one line of at most 1000 printable characters")
    return value


Line = Annotated[str, AfterValidator(_one_line)]


class Table(BaseModel):
    """One TOML table: unknown keys are refused, types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True)
