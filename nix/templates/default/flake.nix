# A fleet of NixOS hypervisors. `qd init .` writes the inventory beside it.
{
  description = "A fleet of NixOS hypervisors";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";
    quarterdeck.url = "github:quarterdeck/quarterdeck";
    quarterdeck.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { quarterdeck, ... }:
    {
      inherit (quarterdeck.lib.mkFleet { inventory = ./.; }) fleet nixosConfigurations packages;
    };
}
