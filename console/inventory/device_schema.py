"""Devices of hosts in the inventory's TOML: what guests get of them."""

from __future__ import annotations

import uuid
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from console.domain import model
from console.inventory.kinds import MdevType, Name, PciFunction, PciId, PciPlace, PciSlot, Rom, Table, UsbId, Uuid


class DeviceTable(Table):
    """[guests.NAME.devices.NAME]"""

    resource: Name | None = None
    """What is wished for, by a name of [resources] in fleet.toml: the plan picks a free one, and writes it as pci."""
    pci: PciSlot | None = None
    """The whole slot on the host; all its functions go to the guest together. With a resource: what was picked."""
    functions: list[PciId] = []
    """Vendor and device of each function, frozen at create: a card that was swapped is noticed."""
    function_numbers: list[Annotated[int, Field(ge=0, le=7)]] = []
    """The functions' numbers, when they are not 0, 1, 2 …"""
    gpu: bool = False
    """It is a GPU."""
    rom: Rom = ""
    """Its option ROM: "off", or a file on the host; the card's own when left out."""
    virtual_of: PciFunction | None = None
    """The function that it is a virtual function of; it is there only while that one has any ([sriov])."""
    mdev: MdevType | None = None
    """Not the card but a mediated device of this type, which the card makes: "nvidia-63"."""
    mdev_uuid: Uuid | None = None
    """Who the mediated device is; derived from the names when left out."""
    vgpu: Annotated[int, Field(ge=1, le=65535)] | None = None
    """NVIDIA's number of the vGPU type that this virtual function takes (Ada and later, without mdev)."""
    accepted: list[Name] = []
    """Warnings of `qd gpu preflight` that may stay, by their names; what blocks cannot be accepted."""

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        if self.pci is None:
            if self.resource is None:
                raise PydanticCustomError("value", 'needs a place, pci = "0000:65:00", or a name, resource = "..."')
            if self.functions or self.function_numbers or self.virtual_of:
                raise PydanticCustomError("value", "functions go with pci: leave them out, and the plan picks a device")
            return self
        if self.function_numbers and len(self.function_numbers) != len(self.functions):
            raise PydanticCustomError("value", "function_numbers must have one number for each of functions")
        if len(set(self.function_numbers)) != len(self.function_numbers):
            raise PydanticCustomError("value", "function_numbers must not have a number twice")
        if not 1 <= len(self.functions) <= 8:
            raise PydanticCustomError(
                "value", 'functions must name the 1 to 8 functions of the slot, such as ["10de:2206", "10de:1aef"]'
            )
        return self

    @model_validator(mode="after")
    def _part(self) -> Self:
        if self.mdev is not None and self.vgpu is not None:
            raise PydanticCustomError("value", "mdev and vgpu are two ways to the same: give one of them")
        if self.mdev_uuid is not None and self.mdev is None:
            raise PydanticCustomError("value", "mdev_uuid goes with mdev, the type that is made")
        if self.rom and (self.mdev is not None or self.vgpu is not None):
            raise PydanticCustomError("value", "a part of a card has no ROM: take rom out")
        if (self.mdev is not None or self.vgpu is not None) and len(self.functions) > 1:
            raise PydanticCustomError("value", "a part is of one function: name that one alone in functions")
        return self


class ResourceTable(Table):
    """[resources.NAME]"""

    id: PciId | None = None
    """Vendor and device of the first function: every such device of every host is one."""
    subsystem: PciId | None = None
    """With id: the card's own maker and model, where they matter."""
    addresses: dict[Name, list[PciPlace]] = {}
    """In place of id: which devices they are, by host; slots, and functions of virtual functions."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.id is None) == (not self.addresses):
            raise PydanticCustomError(
                "value", 'needs either id = "10de:2206" or addresses = { HOST = ["0000:65:00"] }, and not both'
            )
        if self.subsystem is not None and self.id is None:
            raise PydanticCustomError("value", "subsystem goes with id")
        return self


class OwnTable(Table):
    """[own.NAME]"""

    pci: PciSlot
    """The slot that the host keeps for itself: no guest gets it."""
    functions: list[PciId] = []
    """Vendor and device of each function: an NVIDIA card's make its containers' toolkit come along."""
    containers: bool = False
    """The host's containers may use it, by CDI."""


class UsbTable(Table):
    """[guests.NAME.usb.NAME]"""

    id: UsbId
    """Vendor and product, as lsusb shows them; the device is found in whatever port it is."""


def device_of(identity: str, name: str, table: DeviceTable) -> model.Device:
    """Return a device. identity: what the uuid of a mediated device is derived from where the file has none."""
    made = table.mdev_uuid or str(uuid.uuid5(uuid.NAMESPACE_URL, f"quarterdeck:{identity}"))
    return model.Device(
        name=name,
        resource=table.resource or "",
        pci=table.pci or "",
        functions=tuple(table.functions),
        function_numbers=tuple(table.function_numbers) or tuple(range(len(table.functions))),
        gpu=table.gpu,
        rom=table.rom,
        virtual_of=table.virtual_of or "",
        mdev=table.mdev or "",
        mdev_uuid=made if table.mdev else "",
        vgpu=table.vgpu,
        accepted=tuple(table.accepted),
    )
