# The netboot server: DHCP and TFTP by dnsmasq, kernels and initrds by nginx, for the cards of the inventory alone.
#
# Three refusals keep all others out: no lease without a reservation, no file by TFTP outside a known card's own folder,
# none by HTTP without a reserved address. They do not stop one who pretends: who takes a known card's MAC or address
# gets what it gets, and who knows its MAC can ask for its menu by name. Menus and images hold no secret; machines that
# must not get in at all are for the switch to keep out (802.1X).
#
# Who is known is not part of this machine's configuration but read from the inventory while it runs, so that a host
# that is added in the console can boot a second later.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:

let
  inherit (lib)
    concatMap
    mapAttrs
    mapAttrsToList
    mkDefault
    mkIf
    optional
    optionalAttrs
    ;
  inherit (config) fleet;
  cfg = fleet.netboot;

  folder = "/run/fleet-netboot";

  # A URL is fetched when this server is built, and must be what its hash says; else it is a file of the store.
  fetched = url: hash: if hash == null then url else pkgs.fetchurl { inherit url hash; };
  images = pkgs.linkFarm "fleet-netboot-images" (
    concatMap (
      name:
      let
        entry = cfg.entries.${name};
      in
      [
        {
          name = "${name}/kernel";
          path = fetched entry.kernel entry.kernelHash;
        }
      ]
      ++ optional (entry.initrd != null) {
        name = "${name}/initrd";
        path = fetched entry.initrd entry.initrdHash;
      }
    ) (lib.attrNames cfg.entries)
  );
  loaders = pkgs.linkFarm "fleet-netboot-loaders" (
    mapAttrsToList (name: path: { inherit name path; }) (
      lib.filterAttrs (_: path: path != null) {
        "undionly.kpxe" = cfg.loaders.bios;
        "ipxe-x86_64.efi" = cfg.loaders.efi64;
        "ipxe-arm64.efi" = cfg.loaders.efiArm64;
      }
    )
  );

  subnet = if cfg.address == null then null else import ../netboot/subnet.nix cfg.address;

  settings = pkgs.writeText "fleet-netboot.json" (
    builtins.toJSON {
      server = {
        inherit subnet;
        port = cfg.httpPort;
      };
      inherit (cfg) timeoutS;
      installer = "installer";
      machines = mapAttrs (_: machine: { inherit (machine) mac address entry; }) cfg.machines;
      entries = mapAttrs (name: entry: {
        inherit (entry) cmdline;
        title = if entry.title == null then name else entry.title;
        initrd = entry.initrd != null;
      }) cfg.entries;
    }
  );

  installer =
    (import (modulesPath + "/../lib/eval-config.nix") {
      inherit lib pkgs;
      system = null;
      modules = [
        ../images/netboot.nix
        { fleet.installer.authorizedKeys = cfg.installer.authorizedKeys; }
      ]
      ++ cfg.installer.modules;
    }).config;
in
{
  imports = [ ./netboot-options.nix ];

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.interface != null;
        message = "The netboot server does not know where to listen. Set fleet.netboot.interface.";
      }
      {
        assertion = subnet != null;
        message =
          "The netboot server needs an IPv4 address with its prefix length. Set fleet.netboot.address, "
          + "such as \"10.0.0.2/24\".";
      }
    ]
    ++ mapAttrsToList (name: machine: {
      assertion = machine.entry == null || cfg.entries ? ${machine.entry};
      message =
        "fleet.netboot.machines.${name} is to boot ${toString machine.entry}, "
        + "which fleet.netboot.entries does not have.";
    }) cfg.machines
    ++ concatMap (
      name:
      let
        entry = cfg.entries.${name};
        check = what: url: hash: {
          assertion = url == null || lib.hasPrefix "/" url == (hash == null);
          message =
            "fleet.netboot.entries.${name}.${what} needs a hash exactly when it is a URL: "
            + "what comes over the network is booted only when it is known.";
        };
      in
      [
        (check "kernel" entry.kernel entry.kernelHash)
        (check "initrd" entry.initrd entry.initrdHash)
      ]
    ) (lib.attrNames cfg.entries)
    ++ mapAttrsToList (name: _: {
      assertion = builtins.match "[a-zA-Z0-9][a-zA-Z0-9._-]*" name != null;
      message = "fleet.netboot.entries.\"${name}\" cannot be a label of a menu: letters, digits, '-', '_' and '.' can.";
    }) cfg.entries;

    fleet.netboot.entries = mkIf cfg.installer.enable {
      installer = {
        title = mkDefault "Install NixOS on this machine";
        kernel = mkDefault "${installer.system.build.fleetNetboot}/kernel";
        initrd = mkDefault "${installer.system.build.fleetNetboot}/initrd";
        cmdline = mkDefault "init=${installer.system.build.toplevel}/init ${toString installer.boot.kernelParams}";
      };
    };

    services.dnsmasq = {
      enable = mkDefault true;
      resolveLocalQueries = mkDefault false;
      settings = mkIf (cfg.interface != null && subnet != null) (
        mapAttrs (_: mkDefault) (
          import ../netboot/dnsmasq.nix {
            inherit (cfg) interface gateway dns;
            inherit folder subnet;
            loaders = lib.filter (name: cfg.loaders.${name} != null) (lib.attrNames cfg.loaders);
          }
        )
      );
    };

    services.nginx = {
      enable = mkDefault true;
      virtualHosts.fleet-netboot = {
        listen = mkDefault [
          {
            addr = "0.0.0.0";
            port = cfg.httpPort;
          }
        ];
        # Only who has a reserved address finds anything.
        root = mkDefault "${folder}/http/$remote_addr";
      };
    };

    networking.firewall.interfaces = mkIf (cfg.interface != null) {
      ${cfg.interface} = {
        allowedUDPPorts = [
          67
          69
        ];
        allowedTCPPorts = [ cfg.httpPort ];
      };
    };

    users.groups.fleet-netboot = { };
    users.users.fleet-netboot = {
      isSystemUser = mkDefault true;
      group = mkDefault "fleet-netboot";
      description = mkDefault "Writes what the netboot server answers";
      extraGroups = mkIf config.services.quarterdeck.enable or false [ config.services.quarterdeck.group ];
    };
    systemd.services.fleet-netboot = {
      description = mkDefault "Netboot menus and reservations from the inventory";
      wantedBy = [ "multi-user.target" ];
      before = [
        "dnsmasq.service"
        "nginx.service"
      ];
      path = [
        config.nix.package
        pkgs.coreutils
        pkgs.jq
      ];
      environment = mapAttrs (_: mkDefault) {
        FOLDER = folder;
        LOADERS = loaders;
        IMAGES = images;
        # Nix wants a home for its caches; it has nothing to keep.
        HOME = "/tmp";
      };
      script = ''
        # The inventory is evaluated in a store of its own that holds nothing: it can build nothing.
        nix-instantiate --eval --strict --json --store dummy:// ${../netboot/machines.nix} \
          --argstr settings ${settings} ${
            lib.optionalString (cfg.inventory != null) "--argstr inventory ${lib.escapeShellArg cfg.inventory}"
          } |
          ${pkgs.runtimeShell} ${../scripts/netboot-sync.sh}
      '';
      serviceConfig = mapAttrs (_: mkDefault) {
        Type = "oneshot";
        User = "fleet-netboot";
        # Its files outlive each run, and are read by dnsmasq and nginx.
        RuntimeDirectory = "fleet-netboot";
        RuntimeDirectoryMode = "0755";
        RuntimeDirectoryPreserve = true;
        PrivateTmp = true;
        ProtectSystem = "strict";
        ProtectHome = true;
        NoNewPrivileges = true;
        # dnsmasq forgets a card that was taken away only when it is told to read anew.
        ExecStartPost = "+${config.systemd.package}/bin/systemctl --no-block try-reload-or-restart dnsmasq.service";
      };
    };
    systemd.paths = optionalAttrs (cfg.inventory != null) {
      fleet-netboot = {
        description = mkDefault "The inventory, for the netboot server";
        wantedBy = [ "multi-user.target" ];
        pathConfig.PathChanged = mkDefault "${cfg.inventory}/generated";
      };
    };
  };
}
