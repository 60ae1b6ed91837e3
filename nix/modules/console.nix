# The console as a service of a machine: an inventory that operators share, the console at their SSH login, and the
# dashboard on a spare screen.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib)
    attrNames
    concatStringsSep
    filterAttrs
    genAttrs
    mapAttrs
    mkAfter
    mkDefault
    mkIf
    mkMerge
    mkOption
    optionalString
    types
    ;
  cfg = config.services.quarterdeck;
  qd = "${cfg.package}/bin/qd";
  role = role: attrNames (filterAttrs (_: user: user.role == role) config.fleet.users);
  account = types.strMatching "[a-z_][a-z0-9_-]{0,30}";

  # The rest of the file would belong to the last Match: "all" ends it.
  match = who: names: settings: optionalString (names != [ ]) ''
    Match User ${concatStringsSep "," names}
      ForceCommand ${pkgs.runtimeShell} ${../scripts/console-login.sh} ${who} ${cfg.inventory} ${qd}
      AllowTcpForwarding no
      AllowStreamLocalForwarding no
      PermitTunnel no
      X11Forwarding no
    ${settings}Match all
  '';
in
{
  imports = [ ../options.nix ];

  options.services.quarterdeck = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = "Quarterdeck, the console of a fleet, on this machine.";
    };
    package = mkOption {
      type = types.package;
      defaultText = lib.literalMD "the console of the flake that this module comes from";
      description = "The console.";
    };
    inventory = mkOption {
      type = types.strMatching "/[a-zA-Z0-9._/-]+";
      default = "/srv/fleet";
      description = "The inventory's folder. A string, not a path: it is not to be copied into the store.";
    };
    group = mkOption {
      type = account;
      default = "quarterdeck";
      description = "The group that the inventory belongs to. Its members can change it; everybody here can read it.";
    };
    init = mkOption {
      type = types.bool;
      default = true;
      description = "An empty inventory is begun (`qd init`) where there is none.";
    };
    operators = mkOption {
      type = types.listOf account;
      default = role "operator";
      defaultText = lib.literalMD "the operators of `fleet.users`";
      description = "Accounts that get the console when they log in over SSH, and nothing else.";
    };
    viewers = mkOption {
      type = types.listOf account;
      default = role "viewer";
      defaultText = lib.literalMD "the viewers of `fleet.users`";
      description = "Accounts that get the read-only dashboard when they log in over SSH, and nothing else.";
    };
    dashboard = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = "The dashboard is on a screen of this machine from boot on.";
      };
      tty = mkOption {
        type = types.strMatching "tty[0-9]+";
        default = "tty1";
        description = "The screen's terminal; nobody can log in there any more.";
      };
      identity = mkOption {
        type = types.nullOr (types.strMatching "/.*");
        default = null;
        example = "/run/secrets/dashboard";
        description = ''
          The file with the private SSH key that hosts let the dashboard look with. Only root needs to be able to read
          it. Without one the screen shows the inventory and what is known of it, and hosts as unreachable.
        '';
      };
    };
  };

  config = mkIf cfg.enable (mkMerge [
    {
      assertions = [
        {
          assertion = lib.intersectLists cfg.operators cfg.viewers == [ ];
          message =
            "services.quarterdeck has ${concatStringsSep ", " (lib.intersectLists cfg.operators cfg.viewers)} "
            + "both as operator and as viewer.";
        }
        {
          assertion = !lib.elem "root" (cfg.operators ++ cfg.viewers);
          message = "services.quarterdeck would take root's shell away. Give operators accounts of their own.";
        }
        {
          assertion = cfg.dashboard.identity == null || !lib.hasPrefix builtins.storeDir cfg.dashboard.identity;
          message = "services.quarterdeck.dashboard.identity is in the Nix store, where everybody can read it.";
        }
      ];

      environment.systemPackages = [ cfg.package ];
      environment.variables.QUARTERDECK_INVENTORY = mkDefault cfg.inventory;

      users.groups.${cfg.group}.members = cfg.operators;
      users.users = genAttrs (cfg.operators ++ cfg.viewers) (name: {
        isNormalUser = mkDefault true;
        openssh.authorizedKeys.keys = mkDefault (config.fleet.users.${name}.keys or [ ]);
      });

      # Several accounts write one repository: git wants to be told that this is meant.
      programs.git = {
        enable = mkDefault true;
        config.safe.directory = [ cfg.inventory ];
      };
      # New files get the group of the folder.
      systemd.tmpfiles.rules = [ "d ${cfg.inventory} 2775 root ${cfg.group} -" ];

      services.openssh = {
        enable = mkDefault true;
        extraConfig = mkAfter (
          match "operator" cfg.operators "" + match "viewer" cfg.viewers "  AllowAgentForwarding no\n"
        );
      };
    }

    (mkIf cfg.init {
      systemd.services.quarterdeck-init = {
        description = mkDefault "Begins the inventory";
        wantedBy = [ "multi-user.target" ];
        after = [ "systemd-tmpfiles-setup.service" ];
        unitConfig.ConditionPathExists = mkDefault "!${cfg.inventory}/fleet.toml";
        path = [
          cfg.package
          pkgs.coreutils
          pkgs.git
        ];
        environment = mapAttrs (_: mkDefault) {
          HOME = "/root";
          GIT_AUTHOR_NAME = "Quarterdeck";
          GIT_AUTHOR_EMAIL = "quarterdeck@${config.networking.hostName}";
          GIT_COMMITTER_NAME = "Quarterdeck";
          GIT_COMMITTER_EMAIL = "quarterdeck@${config.networking.hostName}";
        };
        script = ''
          qd init --shared ${cfg.group} ${cfg.inventory}
        '';
        serviceConfig = mapAttrs (_: mkDefault) {
          Type = "oneshot";
          UMask = "0002";
        };
      };
    })

    (mkIf cfg.dashboard.enable {
      users.groups.quarterdeck-dashboard = { };
      users.users.quarterdeck-dashboard = {
        isSystemUser = mkDefault true;
        group = mkDefault "quarterdeck-dashboard";
        home = mkDefault "/var/lib/quarterdeck-dashboard";
        description = mkDefault "The dashboard on ${cfg.dashboard.tty}";
      };

      systemd.services."getty@${cfg.dashboard.tty}".enable = mkDefault false;
      systemd.services.quarterdeck-dashboard = {
        description = mkDefault "Dashboard of the fleet";
        wantedBy = [ "multi-user.target" ];
        after = [
          "network.target"
          "systemd-user-sessions.service"
        ];
        # Restarted for ever, whatever ends it.
        startLimitIntervalSec = mkDefault 0;
        path = [ pkgs.openssh ];
        environment = mapAttrs (_: mkDefault) {
          TERM = "linux";
          LANG = "C.UTF-8";
          XDG_RUNTIME_DIR = "/run/quarterdeck-dashboard";
          XDG_STATE_HOME = "/var/lib/quarterdeck-dashboard";
        };
        preStart = mkIf (cfg.dashboard.identity != null) ''
          mkdir -m 0700 -p "$HOME/.ssh"
          ln -sfn "$CREDENTIALS_DIRECTORY/identity" "$HOME/.ssh/id_ed25519"
        '';
        serviceConfig = mapAttrs (_: mkDefault) {
          ExecStart = "${qd} dashboard --inventory ${cfg.inventory}";
          User = "quarterdeck-dashboard";
          LoadCredential = lib.optional (cfg.dashboard.identity != null) "identity:${cfg.dashboard.identity}";
          Restart = "always";
          RestartSec = 5;
          StandardInput = "tty";
          StandardOutput = "tty";
          StandardError = "journal";
          TTYPath = "/dev/${cfg.dashboard.tty}";
          TTYReset = true;
          TTYVHangup = true;
          TTYVTDisallocate = true;
          StateDirectory = "quarterdeck-dashboard";
          StateDirectoryMode = "0700";
          RuntimeDirectory = "quarterdeck-dashboard";
          RuntimeDirectoryMode = "0700";
          # It can look and nothing else: the whole file system is read-only to it, but for its own folders.
          ProtectSystem = "strict";
          ProtectHome = true;
          PrivateTmp = true;
          NoNewPrivileges = true;
          CapabilityBoundingSet = "";
          RestrictAddressFamilies = [
            "AF_UNIX"
            "AF_INET"
            "AF_INET6"
            "AF_NETLINK"
          ];
        };
      };
    })
  ]);
}
