# The two read-only disks that a NixOS guest reads its configuration from at its first boot.
#
#   library   /etc/nixos              the hand-written library, the same for all guests
#   self      /etc/nixos/hosts/self   this machine's data and its own module, and nothing of a neighbour
#
# Only these files are copied into the store, one by one: a change elsewhere in the inventory leaves both as they are.
{ lib, pkgs }:

let
  iso =
    label: name: script:
    pkgs.runCommand "${name}.iso" { nativeBuildInputs = [ pkgs.xorriso ]; } ''
      mkdir root
      ${script}
      xorriso -as mkisofs -quiet -R -V ${label} -o $out root
    '';

  source = builtins.path {
    name = "fleet-library";
    path = ../.;
    filter = path: type: type == "directory" || lib.hasSuffix ".nix" path || lib.hasSuffix ".sh" path;
  };

  file =
    path:
    builtins.path {
      inherit path;
      # The store takes fewer characters than file systems do.
      name = "file";
    };
in
{
  library = iso "FLEET_LIBRARY" "fleet-library" ''
    cp -r ${source} root/fleet
    mkdir -p root/hosts/self
    cat > root/configuration.nix <<'EOF'
    { imports = [ ./fleet/images/guest.nix ./hosts/self ]; }
    EOF
  '';

  # machine: its name. generated, own: its two files in the inventory, own null where it has none. extra: other files
  # that its own module imports, by their place in the inventory ("common/base.nix" = ./common/base.nix).
  self =
    {
      machine,
      generated,
      own ? null,
      extra ? { },
    }:
    let
      files = {
        "generated/${machine}.nix" = generated;
      }
      // lib.optionalAttrs (own != null) { "machines/${machine}.nix" = own; }
      // extra;
      modules = [ "generated/${machine}.nix" ] ++ lib.optional (own != null) "machines/${machine}.nix";
    in
    iso "FLEET_SELF" "fleet-self-${machine}" ''
      ${lib.concatStringsSep "\n" (
        lib.mapAttrsToList (place: path: ''
          mkdir -p root/${lib.escapeShellArg (builtins.dirOf place)}
          cp ${file path} root/${lib.escapeShellArg place}
        '') files
      )}
      cat > root/default.nix <<'EOF'
      { imports = [ ${lib.concatMapStringsSep " " (place: "./${place}") modules} ]; }
      EOF
    '';
}
