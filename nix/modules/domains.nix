# What libvirt is told of the fleet: its networks and pools, and, once, its guests.
#
# The console is the only writer of domains. Their XML lies in /etc/fleet/guests for a host that has just been
# installed or restored: there, and only there, guests that libvirt does not know are defined. Nothing is started,
# stopped or taken away.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib)
    escapeXML
    mapAttrs
    mapAttrs'
    mapAttrsToList
    mkDefault
    nameValuePair
    ;
  inherit (config) fleet;
  guests = lib.filterAttrs (_: guest: guest.xml != null) fleet.guests;

  # One line each: what it is, its name, and what the script needs besides.
  list = lib.concatStringsSep "\n" (
    mapAttrsToList (name: _: "network ${name}") fleet.networks
    ++ mapAttrsToList (name: _: "pool ${name}") fleet.pools
    ++ mapAttrsToList (
      name: guest: "guest ${name} ${guest.uuid} ${if guest.autostart then "autostart" else "-"}"
    ) guests
    ++ [ "" ]
  );

  files = {
    "fleet/list".text = list;
  }
  // mapAttrs' (
    name: network:
    nameValuePair "fleet/networks/${name}.xml" {
      text = ''
        <network>
          <name>${escapeXML name}</name>
          <forward mode="bridge"/>
          <bridge name="${escapeXML network.bridge}"/>
        </network>
      '';
    }
  ) fleet.networks
  // mapAttrs' (
    name: pool:
    nameValuePair "fleet/pools/${name}.xml" {
      text = ''
        <pool type="dir">
          <name>${escapeXML name}</name>
          <target>
            <path>${escapeXML pool.path}</path>
          </target>
        </pool>
      '';
    }
  ) fleet.pools
  // mapAttrs' (name: guest: nameValuePair "fleet/guests/${name}.xml" { text = guest.xml; }) guests;
in
{
  environment.etc = mapAttrs (_: file: { text = mkDefault file.text; }) files;

  systemd.services.fleet-domains = {
    description = mkDefault "Networks, pools and new guests of the fleet";
    wantedBy = [ "multi-user.target" ];
    requires = [ "libvirtd.service" ];
    after = [
      "libvirtd.service"
      "network.target"
    ];
    # A change of any of the files runs it again.
    restartTriggers = [ (builtins.hashString "sha256" (builtins.toJSON files)) ];
    path = [
      pkgs.coreutils
      pkgs.gnugrep
      pkgs.gnused
      config.virtualisation.libvirtd.package
    ];
    environment = mapAttrs (_: mkDefault) {
      FROM = "/etc/fleet";
      STATE = "/var/lib/fleet/domains";
      LIBVIRT_DEFAULT_URI = "qemu:///system";
    };
    serviceConfig = mapAttrs (_: mkDefault) {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = "${pkgs.runtimeShell} ${../scripts/define-domains.sh}";
    };
  };
}
