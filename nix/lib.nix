# mkFleet: from the files of an inventory to the configurations of its machines.
#
#   lib.mkFleet {
#     inventory = ./.;                          # the folder with generated/ and machines/
#     modules = [ ./common.nix ];               # for every machine
#     machines.vhost-a.nixpkgs = inputs.older;  # for one of them: nixpkgs, modules, specialArgs
#   }
#
# gives { nixosConfigurations; packages; fleet; }. Each part is worked out when it is asked for: listing names
# evaluates no machine. A machine is made of its own data and its own module and never of the folder, so that a
# change of one machine leaves the derivations of all others as they were.
inputs:

{
  mkFleet =
    {
      inventory,
      nixpkgs ? inputs.nixpkgs,
      disko ? inputs.disko,
      modules ? [ ],
      specialArgs ? { },
      machines ? { },
    }:
    let
      # As a path without a context: else a machine that names a file of the folder would depend on the whole of it.
      root =
        if builtins.isPath inventory then
          inventory
        else
          /. + builtins.unsafeDiscardStringContext (toString inventory);

      generated = root + "/generated";
      files = if builtins.pathExists generated then builtins.readDir generated else { };
      machineOf = file: builtins.match "(.*)\\.nix" file;
      names = map (file: builtins.head (machineOf file)) (
        builtins.filter (file: machineOf file != null) (builtins.attrNames files)
      );
      each =
        value:
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value = value name;
          }) names
        );

      dataOf = name: generated + "/${name}.nix";
      ownOf = name: root + "/machines/${name}.nix";
      # A file that somebody else has put there is no machine, and says so when it is asked for as one.
      isOurs = name: import (dataOf name) ? fleet;
      fleet = each (
        name:
        if isOurs name then
          (import (dataOf name)).fleet
        else
          throw (
            "generated/${name}.nix has no data of a machine: Quarterdeck has not written it. Move it out of generated/, "
            + "which is the console's alone; settings of a machine belong to machines/${name}.nix."
          )
      );

      roles = {
        host = [
          ./modules/hypervisor.nix
          ./modules/guest-images.nix
          ./modules/netboot.nix
          inputs.self.nixosModules.console
          disko.nixosModules.disko
          ({ lib, ... }: { fleet.guestImages.inventory = lib.mkDefault root; })
        ];
        guest = [ ./modules/guest.nix ];
      };

      configuration =
        name:
        let
          own = machines.${name} or { };
        in
        (own.nixpkgs or nixpkgs).lib.nixosSystem {
          specialArgs = specialArgs // own.specialArgs or { };
          modules =
            roles.${fleet.${name}.kind}
            ++ [ (import ./data.nix (dataOf name)) ]
            ++ modules
            ++ own.modules or [ ]
            ++ (if builtins.pathExists (ownOf name) then [ (ownOf name) ] else [ ]);
        };

      # The installer lets in whoever may deploy: the operators of all machines.
      operators = builtins.concatMap (
        name: builtins.filter (user: user.role == "operator") (builtins.attrValues fleet.${name}.users)
      ) (builtins.filter isOurs names);
      keys = builtins.attrNames (
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value = null;
          }) (builtins.concatMap (user: user.keys) operators)
        )
      );
      installer =
        system: extra:
        (nixpkgs.lib.nixosSystem {
          inherit specialArgs;
          modules = [
            {
              nixpkgs.hostPlatform = system;
              fleet.installer.authorizedKeys = nixpkgs.lib.mkDefault keys;
            }
          ]
          ++ extra;
        }).config.system.build;
    in
    {
      inherit fleet;

      nixosConfigurations = each configuration;

      packages =
        let
          of = system: {
            installer-iso = (installer system [ ./images/iso.nix ]).isoImage;
            installer-netboot = (installer system [ ./images/netboot.nix ]).fleetNetboot;
            # Small boards are aarch64: elsewhere an aarch64 builder makes it.
            installer-sd = (installer "aarch64-linux" [ ./images/sd.nix ]).sdImage;
            # The same installer with the console and the netboot server: for the first machine of a fleet.
            control-iso =
              (installer system [
                ./images/iso.nix
                ./modules/control.nix
                inputs.self.nixosModules.console
              ]).isoImage;
          };
        in
        {
          x86_64-linux = of "x86_64-linux";
          aarch64-linux = of "aarch64-linux";
        };
    };
}
