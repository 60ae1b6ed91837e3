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
    concatStringsSep
    mapAttrs
    mapAttrsToList
    mkDefault
    mkIf
    mkOption
    optional
    optionalAttrs
    types
    ;
  inherit (config) fleet;
  cfg = fleet.netboot;

  folder = "/run/fleet-netboot";

  line = types.strMatching "[^\n\r]*";
  image = types.strMatching "(https?://[^\n]+|/[^\n]+)";
  hash = types.nullOr (types.strMatching "sha(256|512)-[A-Za-z0-9+/=]+");
  loader =
    what: default:
    mkOption {
      type = types.nullOr types.path;
      inherit default;
      defaultText = lib.literalMD "from `pkgs.ipxe`, cross-built where this machine is of another kind";
      description = "iPXE for machines with ${what}; null when none of them is to be served.";
    };

  isX86 = pkgs.stdenv.hostPlatform.isx86_64;
  ipxeX86 = if isX86 then pkgs.ipxe else pkgs.pkgsCross.gnu64.ipxe;
  ipxeArm = if isX86 then pkgs.pkgsCross.aarch64-multiplatform.ipxe else pkgs.ipxe;

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
      entries = mapAttrs (_: entry: {
        inherit (entry) title cmdline;
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
  imports = [ ../options.nix ];

  options.fleet.netboot = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = "This machine answers DHCP, TFTP and HTTP for the machines of the inventory.";
    };
    inventory = mkOption {
      type = types.nullOr (types.strMatching "/.*");
      default = null;
      example = "/srv/fleet";
      description = ''
        The inventory's folder on this machine: its hosts, and its guests' cards that have an address, are known. It
        is watched. A string, not a path: it is not to be copied into the store.
      '';
    };
    network = mkOption {
      type = types.nullOr types.str;
      default = fleet.host.network;
      defaultText = lib.literalExpression "config.fleet.host.network";
      description = "The network of the fleet that it serves.";
    };
    interface = mkOption {
      type = types.nullOr (types.strMatching "[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}");
      default =
        if cfg.network == null then null else fleet.networks.${cfg.network}.bridge;
      defaultText = lib.literalMD "the bridge of `fleet.netboot.network`";
      description = "The interface that it serves; nothing is answered on any other.";
    };
    address = mkOption {
      type = types.nullOr types.str;
      default = fleet.host.address;
      defaultText = lib.literalExpression "config.fleet.host.address";
      example = "10.0.0.2/24";
      description = "This machine's IPv4 address there, with its prefix length. Only machines of this subnet are served.";
    };
    gateway = mkOption {
      type = types.nullOr types.str;
      default =
        if cfg.network == null then null else fleet.networks.${cfg.network}.gateway;
      defaultText = lib.literalMD "the gateway of `fleet.netboot.network`";
      description = "The router that machines are told of.";
    };
    dns = mkOption {
      type = types.listOf types.str;
      default = if cfg.network == null then [ ] else fleet.networks.${cfg.network}.dns;
      defaultText = lib.literalMD "the name servers of `fleet.netboot.network`";
      description = "The name servers that machines are told of.";
    };
    httpPort = mkOption {
      type = types.port;
      default = 8077;
      description = "Where iPXE fetches kernels and initrds.";
    };
    timeoutS = mkOption {
      type = types.ints.positive;
      default = 5;
      description = "How long a menu waits before it boots its first choice, in seconds.";
    };
    machines = mkOption {
      default = { };
      description = "Machines that are known whether the inventory has them or not; what is said here wins over it.";
      type = types.attrsOf (
        types.submodule {
          options = {
            mac = mkOption {
              type = types.strMatching "[0-9a-f]{2}(:[0-9a-f]{2}){5}";
              description = "Its card.";
            };
            address = mkOption {
              type = types.strMatching "[0-9.]+(/[0-9]{1,2})?";
              description = "What it gets.";
            };
            entry = mkOption {
              type = types.nullOr types.str;
              default = null;
              description = "The entry of `fleet.netboot.entries` that it boots by itself; its own disk when null.";
            };
          };
        }
      );
    };
    entries = mkOption {
      default = { };
      description = "What the menus offer, NixOS or not.";
      type = types.attrsOf (
        types.submodule (
          { name, ... }:
          {
            options = {
              title = mkOption {
                type = line;
                default = name;
                description = "The line of the menu.";
              };
              kernel = mkOption {
                type = image;
                description = "The kernel: a URL, or a file of the store.";
              };
              kernelHash = mkOption {
                type = hash;
                default = null;
                description = "What the URL must hold (sha256-...): a build with another content fails.";
              };
              initrd = mkOption {
                type = types.nullOr image;
                default = null;
                description = "The initial RAM disk: a URL, or a file of the store.";
              };
              initrdHash = mkOption {
                type = hash;
                default = null;
                description = "As `kernelHash`.";
              };
              cmdline = mkOption {
                type = line;
                default = "";
                description = "The kernel's command line.";
              };
            };
          }
        )
      );
    };
    installer = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "The menus offer the installer; a host whose SSH key is not pinned yet boots it by itself.";
      };
      authorizedKeys = mkOption {
        type = types.listOf types.str;
        default = fleet.rootKeys;
        defaultText = lib.literalExpression "config.fleet.rootKeys";
        description = "Public SSH keys of those who may log in to the installer as root.";
      };
      modules = mkOption {
        type = types.listOf types.deferredModule;
        default = [ ];
        description = "More modules for the installer, such as drivers.";
      };
    };
    loaders = {
      bios = loader "a BIOS" "${ipxeX86}/undionly.kpxe";
      efi64 = loader "UEFI on x86_64" "${ipxeX86}/ipxe.efi";
      efiArm64 = loader "UEFI on arm64" "${ipxeArm}/ipxe.efi";
    };
  };

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
      message = "fleet.netboot.machines.${name} is to boot ${toString machine.entry}, which fleet.netboot.entries does not have.";
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
      settings = mapAttrs (_: mkDefault) (
        import ../netboot/dnsmasq.nix {
          inherit (cfg) interface gateway dns;
          inherit folder subnet;
          loaders = lib.filter (name: cfg.loaders.${name} != null) (lib.attrNames cfg.loaders);
        }
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
      isSystemUser = true;
      group = "fleet-netboot";
      description = "Writes what the netboot server answers";
      extraGroups = mkIf config.services.quarterdeck.enable or false [ config.services.quarterdeck.group ];
    };
    systemd.services.fleet-netboot = {
      description = "Netboot menus and reservations from the inventory";
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
      environment = {
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
      serviceConfig = {
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
        description = "The inventory, for the netboot server";
        wantedBy = [ "multi-user.target" ];
        pathConfig.PathChanged = "${cfg.inventory}/generated";
      };
    };
  };
}
