# A hypervisor, dumb on purpose: it runs guests and nothing else.
{ config, lib, ... }:

let
  inherit (lib) mkDefault mkIf;
  inherit (config.fleet) host;
in
{
  imports = [
    ./machine.nix
    ./bridges.nix
    ./containers.nix
    ./disk.nix
    ./domains.nix
    ./parts.nix
    ./vfio.nix
  ];

  config = {
    boot.loader.systemd-boot.enable = mkDefault true;
    boot.loader.efi.canTouchEfiVariables = mkDefault true;
    boot.kernelParams =
      host.kernelParams
      ++ lib.optionals (host.hugepages.count > 0) [
        "default_hugepagesz=${host.hugepages.size}"
        "hugepagesz=${host.hugepages.size}"
        "hugepages=${toString host.hugepages.count}"
      ];
    boot.initrd.availableKernelModules = host.bootModules;
    hardware.enableRedistributableFirmware = mkDefault true;
    hardware.cpu.intel.updateMicrocode = mkIf (host.cpuVendor == "intel") (mkDefault true);
    hardware.cpu.amd.updateMicrocode = mkIf (host.cpuVendor == "amd") (mkDefault true);

    virtualisation.libvirtd = {
      enable = mkDefault true;
      qemu.swtpm.enable = mkDefault true;
      # What starts with its host says so itself, by libvirt's autostart.
      onBoot = mkDefault "ignore";
      onShutdown = mkDefault "shutdown";
    };
  };
}
