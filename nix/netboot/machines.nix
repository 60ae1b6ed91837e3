# What the netboot server answers, as data: a list of { mac, address, menu }, one for each card that may ask.
#
# Without nixpkgs, so that a server can read its inventory anew while it runs:
#   nix-instantiate --eval --strict --json machines.nix --argstr settings FILE [--argstr inventory FOLDER]
# settings: a JSON file with { server = { port, subnet }, timeoutS, installer,
# machines.NAME = { mac, address, entry }, entries.NAME = { title, cmdline, initrd } }, checked by the module that
# wrote it. What comes out of the inventory is checked here: it becomes lines of dnsmasq's and iPXE's.
{
  settings,
  inventory ? null,
}:

let
  given = builtins.fromJSON (builtins.readFile settings);
  inherit (builtins)
    all
    attrNames
    attrValues
    concatMap
    concatStringsSep
    elem
    elemAt
    filter
    head
    listToAttrs
    map
    match
    ;

  fleet =
    let
      folder = /. + "${inventory}/generated";
      files = if inventory != null && builtins.pathExists folder then attrNames (builtins.readDir folder) else [ ];
    in
    # What has no data of a machine, somebody else has put there.
    map (data: data.fleet) (
      filter (data: data ? fleet) (
        map (file: import (folder + "/${file}")) (filter (file: match ".*\\.nix" file != null) files)
      )
    );

  hosts = filter (data: data.kind == "host") fleet;

  # A host without a pinned SSH key has not been installed yet: what it boots by itself is the installer.
  ofHost =
    data:
    [
      {
        name = data.machine;
        inherit (data.host) mac address;
        entry = if (data.host.sshHostKey or null) == null then given.installer else null;
      }
    ]
    ++ concatMap (
      guest:
      map (nic: {
        inherit (guest) name;
        inherit (nic) mac address;
        entry = null;
      }) (attrValues guest.nics)
    ) (attrValues data.guests);

  bare = address: head (match "([^/]*).*" address);
  inherit (given.server.subnet) first mask;

  # An address of the served subnet: anything else dnsmasq would not give, and could not be told apart from a mistake.
  within =
    address:
    let
      octets = match "([0-9]+)\\.([0-9]+)\\.([0-9]+)\\.([0-9]+)" (bare address);
      octet = place: builtins.fromJSON (elemAt octets place);
    in
    octets != null
    && all (text: match "0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]" text != null) octets
    && all (place: builtins.bitAnd (octet place) (elemAt mask place) == elemAt first place) [ 0 1 2 3 ];

  served =
    machine:
    machine.address != null
    && match "[0-9a-f]{2}(:[0-9a-f]{2}){5}" machine.mac != null
    && match "[a-zA-Z0-9][a-zA-Z0-9._/-]*" machine.name != null
    && within machine.address;

  named = machines: map (name: machines.${name} // { inherit name; }) (attrNames machines);

  # Who speaks first of a card wins: this server's configuration, what fleet.toml has it boot, the rest.
  machines =
    named given.machines
    ++ concatMap (data: named (data.netboot.machines or { })) hosts
    ++ concatMap ofHost hosts;

  names = attrNames given.entries;
  base = "http://${given.server.subnet.address}:${toString given.server.port}";

  entryLines =
    name:
    let
      entry = given.entries.${name};
    in
    [
      ""
      ":entry-${name}"
      (concatStringsSep " " (
        [ "kernel ${base}/${name}/kernel" ]
        ++ (if entry.cmdline == "" then [ ] else [ entry.cmdline ])
        # UEFI hands the archive over by this name; a BIOS does not mind it.
        ++ (if entry.initrd then [ "initrd=initrd" ] else [ ])
        ++ [ "|| goto failed" ]
      ))
    ]
    ++ (if entry.initrd then [ "initrd --name initrd ${base}/${name}/initrd || goto failed" ] else [ ])
    ++ [ "boot || goto failed" ];

  menu =
    machine:
    let
      first =
        if machine.entry != null && elem machine.entry names then "entry-${machine.entry}" else "disk";
    in
    concatStringsSep "\n" (
      [
        "#!ipxe"
        "# ${machine.name}, ${machine.mac}"
        ":start"
        "menu ${machine.name} (${machine.mac})"
        "item disk Its own disk"
      ]
      ++ map (name: "item entry-${name} ${given.entries.${name}.title}") names
      ++ [
        "choose --default ${first} --timeout ${toString (given.timeoutS * 1000)} chosen || goto ${first}"
        "goto \${chosen}"
        ""
        ":disk"
        "iseq \${platform} pcbios && sanboot --no-describe --drive 0x80 ||"
        "exit 1"
      ]
      ++ concatMap entryLines names
      ++ [
        ""
        ":failed"
        "echo This did not work. Once more in 10 seconds."
        "sleep 10"
        "goto start"
        ""
      ]
    );

  # listToAttrs keeps the first of equal names.
  unique =
    key: found:
    attrValues (
      listToAttrs (
        map (machine: {
          name = machine.${key};
          value = machine;
        }) found
      )
    );
in
unique "address" (
  unique "mac" (
    map (machine: {
      inherit (machine) mac;
      address = bare machine.address;
      menu = menu machine;
    }) (filter served machines)
  )
)
