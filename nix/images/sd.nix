# The installer as an SD card for aarch64 and the Raspberry Pi: `config.system.build.sdImage`.
{ modulesPath, ... }:

{
  imports = [
    (modulesPath + "/installer/sd-card/sd-image-aarch64.nix")
    ../modules/installer.nix
  ];
}
