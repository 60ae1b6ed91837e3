# What the host's cards are parted into, anew after each boot: virtual functions, vGPU types, mediated devices.
{ config, lib, ... }:

let
  inherit (config) fleet;
  devices = lib.concatMap (guest: lib.attrValues guest.devices) (lib.attrValues fleet.guests);
  function = device: "${device.pci}.${toString (lib.head (device.functionNumbers ++ [ 0 ]))}";

  # Virtual functions first: the others may be parts of them.
  lines =
    lib.mapAttrsToList (address: count: "virtual ${address} ${toString count}") fleet.host.sriov
    ++ map (device: "vgpu ${function device} ${toString device.vgpu}") (
      lib.filter (device: device.vgpu != null) devices
    )
    ++ map (device: "mediated ${function device} ${device.mdev} ${device.mdevUuid}") (
      lib.filter (device: device.mdev != null) devices
    );
in
{
  systemd.services = lib.mkIf (lines != [ ]) {
    fleet-parts = {
      description = "Parts of cards for guests";
      wantedBy = [ "multi-user.target" ];
      # A guest that starts with its host finds its part.
      before = [
        "libvirtd.service"
        "libvirt-guests.service"
      ];
      after = [ "systemd-modules-load.service" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      script = ''
        SYS=/sys
        WAIT_S=30
        ${builtins.readFile ../scripts/host-parts.sh}
        ${lib.concatStringsSep "\n" lines}
        exit "$failed"
      '';
    };
  };
}
