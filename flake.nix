{
  description = "Quarterdeck: a terminal console for a fleet of NixOS hypervisors, and the NixOS modules for its hosts and guests";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";
    disko = {
      url = "github:nix-community/disko";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      disko,
    }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      perSystem =
        value:
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value = value name;
          }) systems
        );
    in
    {
      lib = import ./nix/lib.nix { inherit self nixpkgs disko; };

      nixosModules = {
        hypervisor = ./nix/modules/hypervisor.nix;
        guest = ./nix/modules/guest.nix;
        netboot = ./nix/modules/netboot.nix;
        installer = ./nix/modules/installer.nix;
        console =
          { lib, pkgs, ... }:
          {
            # One module, however often it is imported.
            key = "quarterdeck-console";
            imports = [ ./nix/modules/console.nix ];
            services.quarterdeck.package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.default;
          };
        # What mkFleet gives a host.
        default = {
          imports = [
            disko.nixosModules.disko
            self.nixosModules.console
            ./nix/modules/guest-images.nix
            ./nix/modules/hypervisor.nix
            ./nix/modules/netboot.nix
          ];
        };
      };

      packages = perSystem (
        system:
        let
          images = (self.lib.mkFleet { inventory = ./nix/templates/default; }).packages.${system};
        in
        {
          default = nixpkgs.legacyPackages.${system}.callPackage ./nix/package.nix { };
          inherit (images) installer-netboot;
        }
      );

      apps = perSystem (system: {
        default = {
          type = "app";
          program = "${self.packages.${system}.default}/bin/qd";
        };
      });

      templates.default = {
        path = ./nix/templates/default;
        description = "The flake of an inventory";
      };
    };
}
