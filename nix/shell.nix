# What demo/start and tests/run need on NixOS; they enter this shell by themselves. Not yet proven on a NixOS machine.
{ pkgs ? import <nixpkgs> { } }:

pkgs.mkShell {
  packages = with pkgs; [
    gcc
    git
    libvirt
    libxml2
    nix
    openssh
    pkg-config
    python3
    tmux
    util-linux
  ];

  # The wheels of PyPI look for these where other systems have them.
  LD_LIBRARY_PATH = pkgs.lib.makeLibraryPath [ pkgs.stdenv.cc.cc.lib pkgs.zlib pkgs.libvirt ];
}
