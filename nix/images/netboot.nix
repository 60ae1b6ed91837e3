# The installer as kernel and initrd, for the network: `config.system.build.{kernel,netbootRamdisk}`.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:

{
  imports = [
    (modulesPath + "/installer/netboot/netboot.nix")
    ./all-hardware.nix
    ../modules/installer.nix
  ];

  fleet.installer.handedKeys = lib.mkDefault true;

  # What a menu needs, under names that do not depend on the platform. The initrd is filled up to a multiple of 512:
  # UEFI loses a second archive behind one whose length is no multiple of four.
  system.build.fleetNetboot = pkgs.runCommand "fleet-installer-netboot" { } ''
    mkdir $out
    ln -s ${config.system.build.kernel}/${config.system.boot.loader.kernelFile} $out/kernel
    cp ${config.system.build.netbootRamdisk}/initrd $out/initrd
    chmod u+w $out/initrd
    truncate -s %512 $out/initrd
    cat > $out/cmdline <<'EOF'
    init=${config.system.build.toplevel}/init ${toString config.boot.kernelParams}
    EOF
  '';
}
