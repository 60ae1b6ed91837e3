# What is kept for guests: vfio-pci takes their PCI devices in the initrd, before a driver of the host can.
#
# By vendor and device where the hardware report says that no other card of the kind is there; by address otherwise,
# since vfio-pci would take every card of that kind.
{ config, lib, ... }:

let
  inherit (lib)
    concatMap
    elem
    filterAttrs
    imap0
    listToAttrs
    mapAttrs
    mapAttrsToList
    mkBefore
    mkDefault
    mkIf
    unique
    ;
  inherit (config) fleet;
  report = fleet.host.hardware.pci;

  own = map (device: device.pci) (lib.attrValues fleet.host.own);
  # A part's card stays with its driver, and a virtual function is not there yet: libvirt takes it at the guest's start.
  isHeld = device: !device.part && device.virtualOf == null && !elem device.pci own;

  wanted = listToAttrs (
    concatMap (
      guest:
      map (device: {
        name = device.pci;
        value = device;
      }) (lib.filter isHeld (lib.attrValues guest.devices))
    ) (lib.attrValues fleet.guests)
  );
  # What the host keeps for itself, or would: none of it may have an id that is bound.
  others = lib.concatLists (mapAttrsToList (_: ids: ids) (filterAttrs (slot: _: !wanted ? ${slot}) report));
  isOnly = device: report != null && !lib.any (id: elem id others) device.functions;

  bound = how: filterAttrs (_: device: device.bind == how) fleet.vfio.devices;
  ids = unique (concatMap (device: device.functions) (lib.attrValues (bound "id")));
  functions = lib.concatLists (
    mapAttrsToList (
      slot: device:
      imap0 (
        place: id:
        let
          number = if device.functionNumbers == [ ] then place else lib.elemAt device.functionNumbers place;
        in
        "hold ${slot}.${toString number} ${id}"
      ) device.functions
    ) (bound "address")
  );

  script = ''
    SYS=/sys
    ${builtins.readFile ../scripts/vfio-hold.sh}
    ${lib.concatStringsSep "\n" functions}
  '';
  needed = ids != [ ] || functions != [ ];
in
{
  config = {
    fleet.vfio.devices = mapAttrs (_: device: {
      functions = mkDefault device.functions;
      functionNumbers = mkDefault device.functionNumbers;
      bind = mkDefault (if isOnly device then "id" else "address");
    }) wanted;

    boot.kernelParams = mkIf (ids != [ ]) [ "vfio-pci.ids=${lib.concatStringsSep "," ids}" ];
    boot.initrd.kernelModules = mkIf needed (mkBefore fleet.vfio.modules);

    boot.initrd.preDeviceCommands = mkIf (functions != [ ] && !config.boot.initrd.systemd.enable) script;
    boot.initrd.systemd.services = mkIf (functions != [ ] && config.boot.initrd.systemd.enable) {
      fleet-vfio = {
        description = mkDefault "Hold PCI devices for guests";
        wantedBy = [ "initrd.target" ];
        before = [ "systemd-udev-trigger.service" ];
        after = [ "systemd-modules-load.service" ];
        unitConfig.DefaultDependencies = mkDefault false;
        serviceConfig.Type = mkDefault "oneshot";
        inherit script;
      };
    };
  };
}
