# A NixOS guest: agent, serial console, virtio, a root partition that grows with its disk, static addresses by MAC.
#
# Without data (`fleet.guest` is null) it is the base that an image is built of.
{ config, lib, ... }:

let
  inherit (lib)
    listToAttrs
    mapAttrs
    mapAttrsToList
    mkDefault
    mkIf
    mkMerge
    nameValuePair
    optional
    ;
  inherit (config.fleet) guest networks;

  defaults = mapAttrs (_: mkDefault);
  # The base of an image says it by itself.
  firmware = config.fleet.guestImage.firmware or (if guest == null then "bios" else guest.firmware);
  uefi = firmware == "uefi";

  card =
    name: nic:
    let
      network = networks.${nic.network};
    in
    nameValuePair "10-${name}" {
      # A bridge that the guest makes has the same address, but not as its permanent one.
      matchConfig = defaults { PermanentMACAddress = nic.mac; };
      networkConfig = defaults (
        if nic.address == null then { DHCP = "yes"; } else { IPv6AcceptRA = false; }
      );
      address = mkDefault (optional (nic.address != null) nic.address);
      gateway = mkDefault (
        optional (nic.address != null && nic.defaultRoute && network.gateway != null) network.gateway
      );
      dns = mkDefault (lib.optionals (nic.address != null) network.dns);
    };
in
{
  imports = [ ./machine.nix ];

  config = mkMerge [
    {
      services.qemuGuest.enable = mkDefault true;
      boot.kernelParams = config.fleet.consoleParams;
      boot.growPartition = mkDefault true;

      fileSystems."/" = {
        device = mkDefault "/dev/disk/by-label/nixos";
        fsType = mkDefault "ext4";
        autoResize = mkDefault true;
      };

      boot.initrd.availableKernelModules = [
        "virtio_blk"
        "virtio_net"
        "virtio_pci"
        "virtio_scsi"
      ];
      boot.initrd.kernelModules = [
        "virtio_balloon"
        "virtio_console"
        "virtio_rng"
      ];

      boot.loader.grub.enable = mkDefault (!uefi);
      boot.loader.grub.device = mkIf (!uefi) (mkDefault "/dev/vda");
      boot.loader.systemd-boot.enable = mkDefault uefi;
      fileSystems."/boot" = mkIf uefi {
        device = mkDefault "/dev/disk/by-label/ESP";
        fsType = mkDefault "vfat";
        options = mkDefault [ "umask=0077" ];
      };

      documentation.nixos.enable = mkDefault false;
    }

    (mkIf (guest != null) {
      systemd.network.enable = mkDefault true;
      systemd.network.networks = listToAttrs (
        mapAttrsToList card (lib.filterAttrs (_: nic: networks ? ${nic.network}) guest.nics)
      );
    })
  ];
}
