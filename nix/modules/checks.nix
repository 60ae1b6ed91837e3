# What no single option can know, said as sentences that name the machine and the key.
#
# `qd check` says the same of the inventory; here it is said again of what was written in machines/<machine>.nix, and
# of an inventory that was never checked.
{
  config,
  lib,
  options,
  ...
}:

let
  inherit (lib)
    attrNames
    concatLists
    concatStringsSep
    filter
    filterAttrs
    mapAttrsToList
    optional
    ;
  inherit (config) fleet;
  inherit (fleet) host networks;
  net = import ../address.nix { inherit lib; };

  # A base image has no data yet.
  known = options.fleet.machine.isDefined;
  isHost = known && fleet.kind == "host";
  isGuest = known && fleet.kind == "guest";

  refuse = wrong: key: sentence: {
    assertion = !wrong;
    message = "${fleet.machine}: ${key}: ${sentence}";
  };
  list = names: if names == [ ] then "none yet" else concatStringsSep ", " names;

  address =
    key: value:
    refuse (!net.valid value) key ''"${value}" is not an address. Write it as "10.0.0.11/24".'';

  machine = [
    (refuse
      (builtins.match "[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\\..*)?" fleet.machine == null)
      "fleet.machine"
      "the name of a machine ends with a letter or digit, and so does the part before its first dot."
    )
    (refuse (fleet.rootKeys == [ ]) "fleet.rootKeys"
      "nobody could log in as root. Give an operator of fleet.toml a key, or set this option."
    )
  ];

  users = mapAttrsToList (
    name: _:
    refuse (name == "root" || builtins.match "[a-z_][a-z0-9_-]{0,30}" name == null) "fleet.users.${name}"
      "this is not the name of an account. Use up to 31 small letters, digits, '-' or '_', and not root."
  ) fleet.users;

  ofNetwork =
    name: network:
    let
      key = "fleet.networks.${name}";
    in
    optional (network.subnet != null) (address "${key}.subnet" network.subnet)
    ++ optional (network.gateway != null && network.subnet != null) (
      refuse (!net.contains network.subnet network.gateway) "${key}.gateway"
        "${network.gateway} is not inside ${network.subnet}."
    );

  # key: where the guest stands. A guest's cards, on its host and on itself.
  cards =
    key: guest:
    concatLists (
      mapAttrsToList (
        name: nic:
        let
          network = networks.${nic.network} or null;
          here = "${key}.nics.${name}";
        in
        [
          (refuse (network == null) "${here}.network"
            "there is no network ${nic.network}. Known: ${list (attrNames networks)}."
          )
        ]
        ++ optional (nic.address != null) (address "${here}.address" nic.address)
        ++ optional (nic.address != null && network != null && network.subnet != null) (
          refuse (!net.contains network.subnet nic.address) "${here}.address"
            "${nic.address} is not inside ${network.subnet} (${nic.network})."
        )
      ) guest.nics
    );

  # Two ways out of one family: which one is taken would be chance.
  gateways =
    guest:
    let
      out = filterAttrs (
        _: nic: nic.address != null && nic.defaultRoute && (networks.${nic.network}.gateway or null) != null
      ) guest.nics;
      isV6 = _: nic: net.isV6 networks.${nic.network}.gateway;
      several =
        names:
        refuse (lib.length names > 1) "fleet.guest.nics"
          "${concatStringsSep " and " names} both have a default gateway. Write default_route = false in all but one.";
    in
    [
      (several (attrNames (filterAttrs isV6 out)))
      (several (attrNames (filterAttrs (name: nic: !isV6 name nic) out)))
    ];

  devices =
    guestName: guest:
    mapAttrsToList (
      name: device:
      let
        seen = host.hardware.pci.${device.pci} or null;
        strange = filter (id: !lib.elem id seen) device.functions;
        key = "fleet.guests.${guestName}.devices.${name}.pci";
      in
      if seen == null then
        refuse true key "there is nothing at ${device.pci} in the hardware report of this host."
      else
        refuse (strange != [ ]) key
          "${concatStringsSep ", " strange} is not at ${device.pci}: the hardware report has ${list seen} there."
    ) (filterAttrs (_: device: !device.part && device.virtualOf == null) guest.devices);

  hostItself =
    [
      (refuse (host.mac == null) "fleet.host.mac" "it is missing.")
      (refuse (host.address == null) "fleet.host.address" "it is missing.")
    ]
    ++ lib.optionals (host.address != null) [
      (address "fleet.host.address" host.address)
      (refuse (!networks ? ${toString host.network}) "fleet.host.address" (
        "${host.address} is in no network's subnet. Known: "
        + "${list (mapAttrsToList (name: network: "${name} (${toString network.subnet})") networks)}. "
        + "Mend it, or name its network in fleet.host.network."
      ))
    ];
in
{
  assertions =
    lib.optionals known (machine ++ users ++ concatLists (mapAttrsToList ofNetwork networks))
    ++ lib.optionals isHost (
      hostItself
      ++ concatLists (
        mapAttrsToList (
          name: guest:
          cards "fleet.guests.${name}" guest
          ++ lib.optionals (host.hardware.pci != null) (devices name guest)
        ) fleet.guests
      )
    )
    ++ lib.optionals (isGuest && fleet.guest != null) (
      cards "fleet.guest" fleet.guest ++ gateways fleet.guest
    );
}
