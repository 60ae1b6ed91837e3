# Cards that the host keeps for its own containers: they stay with NVIDIA's driver, and containers name them by CDI
# ("nvidia.com/gpu=all"). Nothing of them is bound for guests.
{ config, lib, ... }:

let
  inherit (lib) mkDefault mkIf;
in
{
  config = mkIf config.fleet.host.containerGpus {
    hardware.nvidia-container-toolkit.enable = mkDefault true;
    # NixOS takes from here which drivers the kernel gets; no X server comes along.
    services.xserver.videoDrivers = mkDefault [ "nvidia" ];
    hardware.graphics.enable = mkDefault true;
  };
}
