# The control role: a machine, or an installer, that begins a fleet. It has the console, an inventory to begin with,
# and serves the next machines over the network.
{ config, lib, ... }:

{
  imports = [
    ./console.nix
    ./netboot.nix
  ];

  services.quarterdeck.enable = lib.mkDefault true;

  # A network that nobody has named yet cannot be served.
  fleet.netboot.enable = lib.mkDefault (
    config.fleet.netboot.interface != null && config.fleet.netboot.address != null
  );
}
