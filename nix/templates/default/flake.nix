# `qd init .` writes the inventory beside it. It is yours: the console writes only to generated/.
{
  description = "A fleet of NixOS hypervisors";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";
    # Where you have Quarterdeck from: "path:/srv/quarterdeck" will do too.
    quarterdeck.url = "github:quarterdeck/quarterdeck";
    quarterdeck.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { quarterdeck, ... }:
    {
      # nixosConfigurations: one for each file of generated/, with machines/<machine>.nix where you have written one.
      # fleet: what Quarterdeck knows of each machine. packages: the installer's images.
      inherit (quarterdeck.lib.mkFleet { inventory = ./.; }) fleet nixosConfigurations packages;
    };
}
