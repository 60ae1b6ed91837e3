# What every NixOS guest from an image has in common: the base image is built of this alone, and each guest's own
# configuration, built inside it at first boot, begins with it. `config.system.build.fleetGuestImage` is the image.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:

let
  inherit (lib) mkDefault mkIf mkOption types;
  uefi = config.fleet.guestImage.firmware == "uefi";
in
{
  imports = [
    (modulesPath + "/profiles/qemu-guest.nix")
    ../modules/guest.nix
    ../modules/first-boot.nix
  ];

  options.fleet.guestImage.firmware = mkOption {
    type = types.enum [
      "bios"
      "uefi"
    ];
    default = if config.fleet.guest == null then "bios" else config.fleet.guest.firmware;
    defaultText = lib.literalMD "that of `fleet.guest`";
    description = "What the virtual machine starts with.";
  };

  config = {
    fleet.firstBoot.enable = mkDefault true;

    # The base has no account to log in to, and asks for an address with any card: it lives for one start alone.
    system.stateVersion = mkIf (config.fleet.guest == null) (mkDefault lib.trivial.release);
    users.allowNoPasswordLogin = mkIf (config.fleet.guest == null) (mkDefault true);
    systemd.network.networks = mkIf (config.fleet.guest == null) {
      "90-any" = {
        matchConfig.Type = mkDefault "ether";
        networkConfig.DHCP = mkDefault "yes";
      };
    };

    system.build.fleetGuestImage = pkgs.runCommand "nixos-guest-${config.fleet.guestImage.firmware}.qcow2" { } ''
      cp --reflink=auto ${
        import (modulesPath + "/../lib/make-disk-image.nix") {
          inherit config lib pkgs;
          format = "qcow2";
          diskSize = "auto";
          additionalSpace = "1024M";
          partitionTableType = if uefi then "efi" else "legacy";
          copyChannel = false;
        }
      }/*.qcow2 $out
    '';
  };
}
