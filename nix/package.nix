# The console as a Python application. Not yet proven on a NixOS machine: its dependencies are nixpkgs' own, which may
# be older than pyproject.toml asks for; then the build says so.
{ lib, python3Packages, git, openssh }:

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

  dependencies = with python3Packages; [
    asyncssh
    libvirt
    msgspec
    pydantic
    rtoml
    textual
    tomli-w
    tomlkit
    watchfiles
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
