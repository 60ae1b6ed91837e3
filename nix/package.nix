# The console as a Python application. Not yet proven on a NixOS machine: its dependencies are nixpkgs' own, which may
# be older than pyproject.toml asks for; then the build says so.
{ lib, python3Packages, git, openssh }:

let
  # NixOS 25.11 has Textual 6: there it is the release that requirements.lock names.
  textual =
    if lib.versionAtLeast python3Packages.textual.version "8.2.8" then
      python3Packages.textual
    else
      python3Packages.textual.overridePythonAttrs (old: rec {
        version = "8.2.8";
        src = python3Packages.fetchPypi {
          inherit (old) pname;
          inherit version;
          hash = "sha256-PxBqn7xz453SZslxJDIIfeeKbWRAhMfCQdaiXDFpEVs=";
        };
        dependencies = old.dependencies ++ [
          python3Packages.mdit-py-plugins
          python3Packages.pygments
        ];
        doCheck = false; # its tests are not in the archive
      });
in
python3Packages.buildPythonApplication {
  pname = "quarterdeck";
  version = (lib.importTOML ../pyproject.toml).project.version;
  pyproject = true;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../LICENSE
      ../README.md
      ../console
      ../demo
      ../nix
      ../pyproject.toml
      ../screens
      ../tests
    ];
  };

  build-system = [ python3Packages.hatchling ];

  dependencies = [
    python3Packages.asyncssh
    python3Packages.libvirt
    python3Packages.msgspec
    python3Packages.pydantic
    python3Packages.rtoml
    textual
    python3Packages.tomli-w
    python3Packages.tomlkit
    python3Packages.watchfiles
  ];

  makeWrapperArgs = [
    "--prefix PATH : ${
      lib.makeBinPath [
        git
        openssh
      ]
    }"
  ];

  # What needs neither a terminal, a hypervisor nor a network. The rest of the tests is for tests/run.
  nativeCheckInputs = [
    git
    python3Packages.hypothesis
    python3Packages.pytest
    python3Packages.pytest-asyncio
  ];
  checkPhase = ''
    runHook preCheck
    python -m pytest tests/domain tests/inventory
    runHook postCheck
  '';

  meta = {
    description = "A keyboard-driven terminal console for a fleet of NixOS hypervisors";
    license = lib.licenses.mit;
    mainProgram = "qd";
    platforms = lib.platforms.linux;
  };
}
