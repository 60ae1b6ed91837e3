# On a hypervisor: the base images and configuration disks of its NixOS guests.
#
#   POOL/nixos-HASH.qcow2                 the base, a volume of each pool, for overlays
#   /var/lib/fleet/library.iso            the guests' two configuration disks, as CDs of theirs
#   /var/lib/fleet/guests/NAME.iso
#
# Nothing of a guest is touched: who wants an overlay or a CD of these names it in the inventory.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:

let
  inherit (lib)
    mapAttrs
    mkDefault
    mkIf
    mkOption
    types
    ;
  inherit (config) fleet;
  cfg = fleet.guestImages;

  guests = lib.filterAttrs (_: guest: guest.kind == "nixos") fleet.guests;
  disks = import ../images/guest-disks.nix { inherit lib pkgs; };

  base =
    firmware:
    (import (modulesPath + "/../lib/eval-config.nix") {
      inherit lib pkgs;
      system = null;
      modules = [
        ../images/guest.nix
        { fleet.guestImage = { inherit firmware; }; }
      ]
      ++ cfg.modules;
    }).config.system.build.fleetGuestImage;

  self =
    name:
    let
      own = cfg.inventory + "/machines/${name}.nix";
    in
    disks.self {
      machine = name;
      generated = cfg.inventory + "/generated/${name}.nix";
      own = if builtins.pathExists own then own else null;
      extra = lib.genAttrs cfg.extraFiles (place: cfg.inventory + "/${place}");
    };

  bases = pkgs.writeShellScriptBin "fleet-bases" ''
    PATH=${
      lib.makeBinPath [
        pkgs.coreutils
        pkgs.gawk
        pkgs.gnused
        pkgs.jq
        config.virtualisation.libvirtd.qemu.package
      ]
    }
    export KEEP="${lib.concatStringsSep " " (lib.attrValues cfg.images)}"
    exec ${pkgs.runtimeShell} ${../scripts/guest-bases.sh} "$@"
  '';
in
{
  imports = [ ../options.nix ];

  options.fleet.guestImages = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = "This host keeps base images and configuration disks for its NixOS guests. They are built with it.";
    };
    inventory = mkOption {
      type = types.path;
      description = "The inventory that the guests' files are taken from, one by one.";
    };
    extraFiles = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "common/base.nix" ];
      description = "More files and folders of the inventory that every guest's own module may import.";
    };
    modules = mkOption {
      type = types.listOf types.deferredModule;
      default = [ ];
      description = "More modules for the base that all guests of this host share.";
    };
    firmwares = mkOption {
      type = types.listOf (
        types.enum [
          "bios"
          "uefi"
        ]
      );
      default = [
        "bios"
        "uefi"
      ];
      description = "For which firmware there is a base, whether a guest has it yet or not.";
    };
    images = mkOption {
      type = types.attrsOf types.path;
      default = lib.genAttrs cfg.firmwares base;
      defaultText = lib.literalMD "an image of `images/guest.nix` for each of `fleet.guestImages.firmwares`";
      description = "The base images, qcow2 files, by firmware.";
    };
  };

  config = mkIf cfg.enable {
    environment.systemPackages = [ bases ];

    systemd.tmpfiles.rules = [
      "d /var/lib/fleet 0755 root root -"
      "d /var/lib/fleet/guests 0755 root root -"
      "L+ /var/lib/fleet/library.iso - - - - ${disks.library}"
    ]
    ++ lib.mapAttrsToList (name: _: "L+ /var/lib/fleet/guests/${name}.iso - - - - ${self name}") guests;

    systemd.services.fleet-guest-bases = {
      description = mkDefault "Base images of NixOS guests, as volumes of the pools";
      wantedBy = [ "multi-user.target" ];
      after = [ "libvirtd.service" ];
      unitConfig.RequiresMountsFor = lib.mapAttrsToList (_: pool: pool.path) fleet.pools;
      path = [
        bases
        pkgs.coreutils
        config.virtualisation.libvirtd.package
      ];
      script = lib.concatStringsSep "\n" (
        lib.concatLists (
          lib.mapAttrsToList (
            name: pool:
            [ "mkdir -p ${lib.escapeShellArg pool.path}" ]
            ++ map (image: "fleet-bases link ${lib.escapeShellArg pool.path} ${image}") (lib.attrValues cfg.images)
            # libvirt shows new files only after a look.
            ++ [ "virsh pool-refresh ${lib.escapeShellArg name} || echo 'libvirt sees ${name} later'" ]
          ) fleet.pools
        )
      );
      serviceConfig = mapAttrs (_: mkDefault) {
        Type = "oneshot";
        RemainAfterExit = true;
      };
    };
  };
}
