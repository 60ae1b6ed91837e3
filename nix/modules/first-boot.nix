# First boot of a guest that was started from a shared base image: it builds the configuration that two read-only
# disks hold and reboots into it, once. ../scripts/first-boot.sh says in which steps, and where its state is kept.
#
# Without a network it needs everything that its configuration adds to the base in its own store already. The base
# brings nixpkgs and the tools that configurations are put together with, so a machine that differs from the base in
# names, addresses, keys and services that the base has too needs nothing more; a new package comes from a substituter.
{
  config,
  lib,
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
  cfg = config.fleet.firstBoot;

  disk = label: {
    device = mkDefault "/dev/disk/by-label/${label}";
    fsType = mkDefault "iso9660";
    # A machine whose disks are missing starts all the same and says so.
    options = mkDefault [
      "ro"
      "nofail"
      "x-systemd.device-timeout=20s"
    ];
  };
in
{
  options.fleet.firstBoot.enable = mkOption {
    type = types.bool;
    default = false;
    description = "This machine turns itself into the one that its configuration disks describe.";
  };

  config = mkIf cfg.enable {
    fileSystems."/etc/nixos" = disk "FLEET_LIBRARY";
    fileSystems."/etc/nixos/hosts/self" = disk "FLEET_SELF";

    nix.nixPath = mkDefault [
      "nixpkgs=${pkgs.path}"
      "nixos-config=/etc/nixos/configuration.nix"
    ];
    # What derivations of a configuration are built with, for a machine without a network.
    system.extraDependencies = [
      pkgs.stdenv
      pkgs.stdenvNoCC
      pkgs.busybox
      pkgs.jq
      pkgs.makeInitrdNGTool
    ];

    systemd.services.fleet-first-boot = {
      description = mkDefault "First boot: this machine's own configuration";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "local-fs.target"
      ];
      path = [ "/run/current-system/sw" ];
      environment = mapAttrs (_: mkDefault) {
        HOME = "/root";
        NIX_PATH = lib.concatStringsSep ":" config.nix.nixPath;
      };
      # A change of the configuration that is being built must not stop the one who builds it.
      restartIfChanged = mkDefault false;
      serviceConfig = mapAttrs (_: mkDefault) {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${pkgs.runtimeShell} ${../scripts/first-boot.sh}";
        StandardOutput = "journal+console";
        StandardError = "journal+console";
        TimeoutStartSec = "infinity";
      };
    };
  };
}
