# The installer as an ISO image, for a CD or a USB stick: `config.system.build.isoImage`.
{ lib, modulesPath, ... }:

{
  imports = [
    (modulesPath + "/installer/cd-dvd/iso-image.nix")
    ./all-hardware.nix
    ../modules/installer.nix
  ];

  isoImage = {
    makeEfiBootable = lib.mkDefault true;
    makeUsbBootable = lib.mkDefault true;
    volumeID = lib.mkDefault "FLEET_INSTALLER";
  };
}
