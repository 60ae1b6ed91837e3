# What can be said of the netboot server: its network, who is known, what there is to boot.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  inherit (config) fleet;
  cfg = fleet.netboot;

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
      default =
        if config.services.quarterdeck.enable or false then config.services.quarterdeck.inventory else null;
      defaultText = lib.literalMD "the inventory of `services.quarterdeck`, where the console is on this machine";
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
      description = "This machine's IPv4 address there, with its prefix length. Only its subnet is served.";
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
              type = types.strMatching "[0-9a-f.:]+(/[0-9]{1,3})?";
              description = "What it gets; a machine without an IPv4 address of the subnet is not served.";
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
        types.submodule {
          options = {
            title = mkOption {
              type = types.nullOr line;
              default = null;
              description = "The line of the menu; its name when null.";
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
}
