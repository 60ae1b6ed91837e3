# The default disk layout of a host, for disko: an ESP and a root partition on the disk that the inventory names.
#
# `fleet.host.disk = null` takes all of it away: then `fileSystems` or another disko layout are yours.
{
  config,
  lib,
  options,
  ...
}:

let
  inherit (lib) mkDefault mkIf optionalAttrs;
  inherit (config.fleet) host machine;
in
{
  config = {
    assertions = [
      {
        assertion = config.fileSystems ? "/";
        message =
          if host.disk == null then
            "${machine}: fleet.host.disk is not set, and there is no fileSystems.\"/\" either. Write "
            + "disk = \"/dev/disk/by-id/...\" in hosts/${machine}.toml, or import a hardware-configuration.nix in "
            + "machines/${machine}.nix."
          else
            "${machine}: fleet.host.disk is ${host.disk}, but nothing lays it out. Import disko's module, or write "
            + "fileSystems.\"/\" in machines/${machine}.nix.";
      }
    ];
  }
  # Without disko's module, in a flake that has none, the layout cannot be said.
  // optionalAttrs (options ? disko) {
    disko.devices.disk = mkIf (host.disk != null) {
      main = {
        type = mkDefault "disk";
        device = mkDefault host.disk;
        content = mkDefault {
          type = "gpt";
          partitions = {
            ESP = {
              size = "1G";
              type = "EF00";
              content = {
                type = "filesystem";
                format = "vfat";
                mountpoint = "/boot";
                mountOptions = [ "umask=0077" ];
              };
            };
            root = {
              size = "100%";
              content = {
                type = "filesystem";
                format = "ext4";
                mountpoint = "/";
              };
            };
          };
        };
      };
    };
  };
}
