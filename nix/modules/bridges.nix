# The bridges of a host: one for each network of the fleet, and the cards that carry them.
#
# A card is known by the address that is burnt into it, never by a name that the kernel makes up. Its bridges and VLANs
# have that address too, but not as their permanent one.
{ config, lib, ... }:

let
  inherit (lib)
    attrNames
    concatMap
    filter
    filterAttrs
    listToAttrs
    mapAttrs
    mapAttrs'
    mapAttrsToList
    mkDefault
    mkMerge
    nameValuePair
    optional
    optionalAttrs
    ;
  inherit (config.fleet) host networks;

  defaults = mapAttrs (_: mkDefault);
  isOwn = name: name == host.network;
  isVlan = name: networks.${name}.vlan != null;
  uplink = name: host.uplinks.${name} or (if isOwn name || isVlan name then host.mac else null);
  vlanName = name: "vlan${toString networks.${name}.vlan}";

  carried = filter (name: uplink name != null) (attrNames networks);
  cards = lib.groupBy uplink carried;

  card =
    mac: names:
    let
      untagged = filter (name: !isVlan name) names;
    in
    nameValuePair "10-card-${lib.replaceStrings [ ":" ] [ "" ] mac}" {
      matchConfig = defaults { PermanentMACAddress = mac; };
      networkConfig = defaults (
        {
          LinkLocalAddressing = "no";
        }
        // optionalAttrs (untagged != [ ]) { Bridge = networks.${lib.head untagged}.bridge; }
      );
      vlan = mkDefault (map vlanName (filter isVlan names));
      linkConfig = defaults { RequiredForOnline = if untagged == [ ] then "carrier" else "enslaved"; };
    };

  vlanPort =
    name:
    nameValuePair "15-${vlanName name}" {
      matchConfig = defaults { Name = vlanName name; };
      networkConfig = defaults {
        LinkLocalAddressing = "no";
        Bridge = networks.${name}.bridge;
      };
      linkConfig = defaults { RequiredForOnline = "no"; };
    };

  bridge =
    name: network:
    nameValuePair "20-${network.bridge}" (
      {
        matchConfig = defaults { Name = network.bridge; };
        networkConfig = defaults (
          if isOwn name then
            { IPv6AcceptRA = false; }
          else
            {
              LinkLocalAddressing = "no";
              IPv6AcceptRA = false;
              ConfigureWithoutCarrier = true;
            }
        );
        linkConfig = defaults { RequiredForOnline = if isOwn name then "routable" else "no"; };
      }
      // optionalAttrs (isOwn name) {
        address = mkDefault (optional (host.address != null) host.address);
        gateway = mkDefault (optional (network.gateway != null) network.gateway);
        dns = mkDefault network.dns;
      }
    );
in
{
  systemd.network = {
    enable = mkDefault true;

    netdevs = mkMerge [
      (mapAttrs' (
        name: network:
        nameValuePair "20-${network.bridge}" {
          netdevConfig = defaults (
            {
              Kind = "bridge";
              Name = network.bridge;
            }
            # Else systemd makes one up, and the host is another one to its switch.
            // optionalAttrs (uplink name != null && !isVlan name) { MACAddress = uplink name; }
          );
          # No other switch is behind a guest: there is no loop to wait for.
          bridgeConfig = defaults {
            STP = false;
            ForwardDelaySec = 0;
          };
        }
      ) networks)
      (listToAttrs (
        map (
          name:
          nameValuePair "15-${vlanName name}" {
            netdevConfig = defaults {
              Kind = "vlan";
              Name = vlanName name;
            };
            vlanConfig = defaults { Id = networks.${name}.vlan; };
          }
        ) (filter isVlan carried)
      ))
    ];

    networks = mkMerge [
      (listToAttrs (mapAttrsToList card cards))
      (listToAttrs (map vlanPort (filter isVlan carried)))
      (mapAttrs' bridge networks)
    ];
  };

  assertions =
    let
      perCard = mapAttrsToList (mac: names: {
        inherit mac;
        names = filter (name: !isVlan name) names;
      }) cards;
      perVlan = lib.groupBy vlanName (filter isVlan carried);
    in
    concatMap (
      found:
      optional (lib.length found.names > 1) {
        assertion = false;
        message =
          "${config.fleet.machine}: fleet.host.uplinks: the networks ${lib.concatStringsSep " and " found.names} are "
          + "both untagged on the card ${found.mac}. Give one of them a VLAN, another card, or no card (null).";
      }
    ) perCard
    ++ mapAttrsToList (_: names: {
      assertion = false;
      message =
        "${config.fleet.machine}: fleet.networks: ${lib.concatStringsSep " and " names} have the same VLAN number on "
        + "this host. Give each its own.";
    }) (filterAttrs (_: names: lib.length names > 1) perVlan)
    ++ map (name: {
      assertion = networks ? ${name};
      message =
        "${config.fleet.machine}: fleet.host.uplinks.${name}: there is no network of this name. "
        + "Known: ${lib.concatStringsSep ", " (attrNames networks)}.";
    }) (attrNames host.uplinks);
}
