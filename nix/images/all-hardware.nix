# Drivers and firmware of all that an installer may meet.
{
  lib,
  modulesPath,
  options,
  ...
}:

{
  imports = [ (modulesPath + "/profiles/all-hardware.nix") ];

  # Up to 24.11 the profile is on where it is imported; since 25.05 it is an option that is off.
  config = lib.optionalAttrs (options ? hardware.enableAllHardware) {
    hardware.enableAllHardware = lib.mkDefault true;
  };
}
