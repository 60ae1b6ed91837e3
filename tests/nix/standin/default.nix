# A nixpkgs with nothing in it: `lib.nixosSystem` evaluates modules by the rules of the module system, fails on
# assertions as NixOS does, and builds a toplevel whose content is all that the modules set.
let
  lib = import ./lib.nix;
  inherit (lib) mkOption types;

  isPackage = value: builtins.isAttrs value && (value.type or null) == "derivation";

  pkgsFor =
    system:
    let
      # Programs are never called: a path that says what it stands for will do.
      program = name: "/stand-in/${name}";
      text =
        name: content:
        derivation {
          inherit name system content;
          passAsFile = [ "content" ];
          builder = "/bin/sh";
          PATH = "/usr/bin:/bin";
          args = [
            "-c"
            "cp $contentPath $out"
          ];
        };
    in
    lib.genAttrs [
      "busybox"
      "coreutils"
      "gawk"
      "git"
      "gnugrep"
      "gnused"
      "ipxe"
      "jq"
      "libvirt"
      "openssh"
      "xorriso"
    ] program
    // {
      inherit lib;
      path = "/stand-in/nixpkgs";
      runtimeShell = "/bin/sh";
      stdenv.hostPlatform = {
        inherit system;
        isx86_64 = system == "x86_64-linux";
      };
      pkgsCross.gnu64.ipxe = program "ipxe";
      pkgsCross.aarch64-multiplatform.ipxe = program "ipxe";
      writeText = text;
      writeShellScriptBin = text;
      runCommand = name: _: text name;
      linkFarm = name: entries: text name (builtins.toJSON entries);
      fetchurl = { url, hash }: text "fetched" "${url} ${hash}";
      callPackage = file: _: text (baseNameOf (toString file)) "";
    };

  # What the library reads of NixOS, or leaves to it.
  base =
    { config, ... }:
    let
      option =
        type: default:
        mkOption { inherit type default; };
    in
    {
      options = {
        assertions = option (types.listOf types.raw) [ ];
        warnings = option (types.listOf types.str) [ ];
        boot.initrd.systemd.enable = option types.bool false;
        fileSystems = option (types.attrsOf types.raw) { };
        nix.package = option types.str "/stand-in/nix";
        nixpkgs.hostPlatform = option types.str "x86_64-linux";
        systemd.package = option types.str "/stand-in/systemd";
        virtualisation.libvirtd.package = option types.str "/stand-in/libvirt";
        virtualisation.libvirtd.qemu.package = option types.str "/stand-in/qemu";
      };
      config._module = { };
    };

  # Everything that was set, as JSON can say it.
  shown =
    value:
    if builtins.isFunction value then
      "<function>"
    else if isPackage value || (builtins.isAttrs value && value ? outPath) then
      "${value}"
    else if builtins.isAttrs value then
      builtins.mapAttrs (_: shown) (lib.filterAttrs (_: inner: !(builtins.isAttrs inner && inner._type or null == "absent")) value)
    else if builtins.isList value then
      map shown value
    else if builtins.isPath value then
      toString value
    else
      value;

  nixosSystem =
    {
      modules,
      specialArgs ? { },
    }:
    let
      evaluated = lib.evaluate {
        modules = [ base ] ++ modules;
        args = specialArgs // {
          modulesPath = "/stand-in/nixos/modules";
          pkgs = pkgsFor evaluated.config.nixpkgs.hostPlatform;
        };
      };
      inherit (evaluated) config;
      failed = map (check: check.message) (builtins.filter (check: !check.assertion) config.assertions);
      settings = shown (
        removeAttrs config [
          "_module"
          "assertions"
          "fleet"
          "warnings"
        ]
      );
      toplevel = derivation {
        name = "nixos-system-${config.networking.hostName}";
        system = builtins.currentSystem;
        builder = "/bin/sh";
        PATH = "/usr/bin:/bin";
        settings = builtins.toJSON settings;
        passAsFile = [ "settings" ];
        args = [
          "-e"
          "-c"
          "mkdir $out; cp $settingsPath $out/config.json"
        ];
      };
    in
    {
      inherit failed settings;
      config = config // {
        system = (config.system or { }) // {
          build.toplevel =
            if failed == [ ] then
              toplevel
            else
              throw "\nFailed assertions:\n${lib.concatMapStringsSep "\n" (message: "- ${message}") failed}";
        };
      };
    };

  # Of disko, that a layout gives file systems.
  disko =
    { config, lib, ... }:
    {
      options.disko.devices = lib.mkOption {
        type = lib.types.raw;
        default = { };
      };
      config.fileSystems = lib.mkIf ((config.disko.devices.disk or { }) != { }) {
        "/" = { };
      };
    };

  self =
    (import ../../../flake.nix).outputs {
      inherit self;
      nixpkgs = {
        inherit lib nixosSystem;
      }
      // {
        lib = lib // { inherit nixosSystem; };
        legacyPackages = lib.genAttrs [
          "x86_64-linux"
          "aarch64-linux"
        ] pkgsFor;
      };
      disko.nixosModules.disko = disko;
    }
    // {
      outPath = ../../..;
    };
in
{
  inherit lib nixosSystem self;
  fleet = inventory: self.lib.mkFleet { inherit inventory; };
}
