# What a host and a NixOS guest have in common: name, accounts, SSH, firewall.
{
  config,
  lib,
  options,
  ...
}:

let
  inherit (lib)
    mapAttrs
    mkDefault
    mkIf
    mkMerge
    ;
  inherit (config) fleet;

  # A base image has no data yet: it is no machine of the fleet before its first boot.
  known = options.fleet.machine.isDefined;
  # Before the first dot is the host's name, behind it the domain: "web.example" is web in example.
  labels = builtins.match "([^.]*)\\.?(.*)" fleet.machine;
  hostName = lib.head labels;
  domain = lib.last labels;
in
{
  imports = [
    ../options.nix
    ./checks.nix
  ];

  config = mkMerge [
    (mkIf known {
      # A name that no system has is refused by checks.nix with a sentence; the option itself would only name a pattern.
      networking.hostName = mkDefault (
        if builtins.match "[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?" hostName == null then "unnamed" else hostName
      );
      networking.domain = mkIf (domain != "") (mkDefault domain);
      nixpkgs.hostPlatform = mkDefault fleet.system;
      system.stateVersion = mkDefault fleet.stateVersion;
    })

    {
      networking.useNetworkd = mkDefault true;
      networking.useDHCP = mkDefault false;
      networking.firewall.enable = mkDefault true;
      # Other modules open ports too: beside theirs a default would be dropped.
      networking.firewall.allowedTCPPorts = fleet.openPorts;

      services.openssh.enable = mkDefault true;
      services.openssh.openFirewall = mkDefault false;
      services.openssh.settings = mapAttrs (_: mkDefault) {
        PermitRootLogin = "prohibit-password";
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
      };

      users.mutableUsers = mkDefault false;
      users.users =
        mapAttrs (_: user: {
          isNormalUser = mkDefault true;
          extraGroups = lib.optionals (user.role == "operator") fleet.operatorGroups;
          openssh.authorizedKeys.keys = user.keys;
        }) (lib.filterAttrs (name: _: name != "root") fleet.users)
        // {
          root = {
            # No password is this one.
            hashedPassword = mkDefault "!";
            openssh.authorizedKeys.keys = fleet.rootKeys;
          };
        };
    }
  ];
}
