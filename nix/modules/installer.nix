# The installer: a machine that starts by itself, lets the console in and says what it is made of. It writes to no disk.
#
# Three images are made of this one configuration: ../images/{iso,sd,netboot}.nix.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib)
    mapAttrs
    mkDefault
    mkIf
    mkOption
    types
    ;
  cfg = config.fleet.installer;

  report = "/run/fleet/hardware.json";

  # What stage 1 runs: the same text whether it is a shell script or systemd that does stage 1.
  handedKeys = root: ''
    FROM=/ssh INTO=${root} CMDLINE=/proc/cmdline
    lost() {
      sleep 15
      reboot -f
    }
    ${builtins.readFile ../scripts/handed-keys.sh}
  '';
in
{
  options.fleet.installer = {
    authorizedKeys = mkOption {
      type = types.listOf (types.strMatching "(ssh|ecdsa|sk)-[^\n]*");
      default = [ ];
      description = "Public SSH keys of those who may log in as root. They become part of the image.";
    };
    handedKeys = mkOption {
      type = types.bool;
      default = false;
      description = ''
        The kernel is handed a second initrd archive with `ssh/authorized_keys`, `ssh/ssh_host_ed25519_key` and its
        `.pub`; stage 1 puts them in place. With `fleet.keys=handed` on the kernel's command line they must be there:
        a machine that does not find them says so and starts anew.
      '';
    };
  };

  config = {
    assertions = [
      {
        assertion = cfg.authorizedKeys != [ ] || cfg.handedKeys;
        message =
          "Nobody could log in to this installer: it has no SSH key. Set fleet.installer.authorizedKeys, "
          + "or give an operator of fleet.toml a key.";
      }
    ];

    networking = {
      hostName = mkDefault "installer";
      useNetworkd = mkDefault true;
      # Every wired card asks for an address: nobody knows yet which of them has a cable.
      useDHCP = mkDefault true;
      firewall.enable = mkDefault true;
    };
    systemd.network.wait-online.anyInterface = mkDefault true;

    services.openssh = {
      enable = mkDefault true;
      authorizedKeysInHomedir = mkDefault true;
      # One kind of host key, the one that is handed over or shown on the screen to be pinned.
      hostKeys = mkDefault [
        {
          type = "ed25519";
          path = "/etc/ssh/ssh_host_ed25519_key";
        }
      ];
      settings = {
        PermitRootLogin = mkDefault "prohibit-password";
        PasswordAuthentication = mkDefault false;
        KbdInteractiveAuthentication = mkDefault false;
      };
    };
    users.users.root.openssh.authorizedKeys.keys = mkDefault cfg.authorizedKeys;
    services.getty.helpLine = "This is an installer. Log in over SSH with your key: ssh root@\\4";

    boot.initrd.postMountCommands = mkIf (cfg.handedKeys && !config.boot.initrd.systemd.enable) ''
      ${handedKeys "$targetRoot"}
      hand_keys
    '';
    boot.initrd.systemd.services = mkIf (cfg.handedKeys && config.boot.initrd.systemd.enable) {
      fleet-handed-keys = {
        description = mkDefault "SSH keys from the second initrd archive";
        wantedBy = [ "initrd.target" ];
        before = [ "initrd.target" ];
        after = [ "initrd-fs.target" ];
        unitConfig = mapAttrs (_: mkDefault) {
          DefaultDependencies = false;
          RequiresMountsFor = "/sysroot";
        };
        serviceConfig.Type = mkDefault "oneshot";
        script = ''
          ${handedKeys "/sysroot"}
          hand_keys
        '';
      };
    };

    systemd.services.fleet-hardware-report = {
      description = mkDefault "Hardware report";
      wantedBy = [ "multi-user.target" ];
      # The host key is part of the report, and is made when sshd first starts.
      wants = [ "sshd.service" ];
      after = [
        "sshd.service"
        "sshd-keygen.service"
      ];
      path = [
        pkgs.coreutils
        pkgs.gnused
        pkgs.openssh
      ];
      serviceConfig = mapAttrs (_: mkDefault) {
        Type = "oneshot";
        RemainAfterExit = true;
        StandardOutput = "journal+console";
      };
      script = ''
        mkdir -p ${dirOf report}
        ${pkgs.runtimeShell} ${../scripts/hardware-report.sh} > ${report}.new
        mv ${report}.new ${report}
        cat ${report}
        if [ -e /etc/ssh/ssh_host_ed25519_key.pub ]; then
          ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
        fi
      '';
    };

    nix.settings.experimental-features = mkDefault [
      "nix-command"
      "flakes"
    ];
    nix.channel.enable = mkDefault false;
    documentation.enable = mkDefault false;
    # Its state is gone with the power: there is nothing that an older release could have left.
    system.stateVersion = mkDefault lib.trivial.release;
  };
}
