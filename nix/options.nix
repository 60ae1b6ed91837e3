# The one option tree of the library: everything that a machine knows of its fleet, typed.
#
#   fleet.name, id                   the fleet
#   fleet.machine, kind, system,     this machine; kind is "host" or "guest"
#     stateVersion
#   fleet.networks, pools, users     what fleet.toml says, as far as it is this machine's
#   fleet.host.*                     on a host: itself
#   fleet.guests.<name>.*            on a host: the guests whose home it is, with the XML of their domains
#   fleet.guest.*                    on a NixOS guest: itself, the same type as above; null elsewhere
#   fleet.vfio.*                     on a host: what is kept for guests, worked out from the guests' devices
#   fleet.netboot.*, installer.*     roles that a machine can have besides: modules/{netboot,installer}.nix
#
# generated/<machine>.nix sets the data: exactly what `machine_data` and `guest_data` of console/generate/nix.py
# return. A key is added in both places. What has a default here need not be in the data. Every definition of the
# library is a default: machines/<machine>.nix wins without mkForce, and lists are options of their own here.
{ config, lib, ... }:

let
  inherit (lib) mkOption types;
  fleet = config.fleet;

  name = types.strMatching "[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}";
  mac = types.strMatching "[0-9a-f]{2}(:[0-9a-f]{2}){5}";
  address = types.strMatching "[0-9a-f.:]+/[0-9]{1,3}";
  ip = types.strMatching "[0-9a-f.:]+";
  pciSlot = types.strMatching "[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}";
  pciFunction = types.strMatching "[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]";
  pciId = types.strMatching "[0-9a-f]{4}:[0-9a-f]{4}";
  uuid = types.strMatching "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
  interface = types.strMatching "[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}";
  path = types.strMatching "/.*";
  # A disk by a name that stays: the names that the kernel counts (/dev/sda) are another disk after the next boot.
  stableDisk = types.strMatching "/dev/(disk/by-(id|path|uuid|partuuid)|mapper|md)/.+";
  publicKey = types.strMatching "(ssh|ecdsa|sk)-[^\n]*";

  option = type: description: mkOption { inherit type description; };
  optional =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  withDefault =
    default: type: description:
    mkOption { inherit default type description; };
  table = submodule: description: withDefault { } (types.attrsOf (types.submodule { options = submodule; })) description;

  network = {
    bridge = option interface "The bridge on each host.";
    subnet = optional address "Its addresses.";
    gateway = optional ip "The router.";
    dns = withDefault [ ] (types.listOf ip) "Name servers.";
    vlan = optional (types.ints.between 1 4094) "The VLAN's number; untagged when null.";
  };

  user = {
    keys = withDefault [ ] (types.listOf publicKey) "Public SSH keys.";
    role = withDefault "viewer" (types.enum [
      "operator"
      "viewer"
    ]) "What the user may do.";
  };

  disk = {
    sizeKib = withDefault 0 types.ints.unsigned "How large it is, in KiB; 0 for a CD.";
    pool = withDefault "default" name "The storage pool that holds it.";
    target = option (types.strMatching "[sv]d[a-z]") "What the guest's bus calls it.";
    path = option path "Its file on the host.";
    source = {
      kind = withDefault "empty" (types.enum [
        "empty"
        "image"
        "iso"
      ]) "What it is filled with when it is created.";
      value = withDefault "" types.str "The image or ISO.";
      mode = withDefault "overlay" (types.enum [
        "copy"
        "overlay"
      ]) "How it uses its image.";
    };
  };

  nic = {
    network = option name "The network of `fleet.networks` that it is on.";
    mac = option mac "Its MAC address.";
    address = optional address "Its static address; DHCP when null.";
    defaultRoute = withDefault true types.bool "The network's gateway is the way out, if it has one.";
  };

  device = {
    pci = option pciSlot "The whole slot on the host.";
    functions = option (types.nonEmptyListOf pciId) "Vendor and device of each function.";
    functionNumbers =
      withDefault [ ] (types.listOf (types.ints.between 0 7))
        "The functions' numbers; counted from 0 when empty.";
    gpu = withDefault false types.bool "It is a GPU.";
    part =
      withDefault false types.bool
        "It is a part of a card (a mediated device, a vGPU): the card stays with its own driver.";
    virtualOf = optional pciFunction "The function that it is a virtual function of: it is not there before that has some.";
    mdev = optional (types.strMatching "[A-Za-z0-9][A-Za-z0-9._-]*") "The type of a mediated device that the card makes.";
    mdevUuid = optional uuid "Who that mediated device is.";
    vgpu = optional types.ints.positive "The number of NVIDIA's vGPU type that the virtual function takes.";
  };

  own = {
    pci = option pciSlot "The slot that the host keeps for itself.";
    functions = withDefault [ ] (types.listOf pciId) "Vendor and device of each function, where they are known.";
    containers = withDefault false types.bool "The host's containers may use it.";
  };

  kernel = {
    path = option path "The kernel, a file on the host.";
    initrd = optional path "The initial RAM disk, a file on the host.";
    cmdline = withDefault "" types.str "The kernel's command line.";
  };

  guest = {
    name = option name "The guest's name.";
    host = optional name "Its home; only in the guest's own data.";
    uuid = option uuid "Who it is.";
    kind = withDefault "plain" (types.enum [
      "plain"
      "nixos"
    ]) "A plain domain, or a machine of the flake.";
    vcpus = option types.ints.positive "How many virtual CPUs.";
    memoryKib = option types.ints.positive "How much memory, in KiB.";
    machine = withDefault "q35" types.str "The virtual mainboard.";
    firmware = withDefault "bios" (types.enum [
      "bios"
      "uefi"
    ]) "What it starts with.";
    display = withDefault "none" (types.enum [
      "none"
      "vnc"
    ]) "Where its emulated screen goes.";
    autostart = withDefault false types.bool "It starts with its host.";
    description = withDefault "" types.str "A line for people.";
    labels = withDefault [ ] (types.listOf name) "Words to filter by.";
    boot = withDefault [ ] (types.listOf types.str) "What to boot from, in order.";
    kernel = optional (types.submodule { options = kernel; }) "Boot this kernel directly.";
    disks = table disk "Its disks and CDs.";
    nics = table nic "Its network cards.";
    devices = table device "What of the host is passed through.";
    stateVersion = optional types.str "The NixOS release it was installed with.";
    xml = optional types.lines "Its domain XML; only in its host's data.";
  };
in
{
  options.fleet = {
    name = option name "The fleet's name.";
    id = option uuid "Marks the domains that belong to this inventory.";
    machine = option name "This machine's name: a host's or a NixOS guest's.";
    kind = option (types.enum [
      "host"
      "guest"
    ]) "What this machine is.";
    system = withDefault "x86_64-linux" types.str "What this machine's programs are built for.";
    stateVersion = option types.str "The NixOS release that this machine was installed with; never raised.";
    networks = table network "The networks that machines attach to.";
    pools = table { path = option path "The folder of volumes."; } "Storage pools on each host.";
    users = table user "The people with access to this machine.";

    rootKeys =
      mkOption {
        type = types.listOf publicKey;
        default = lib.concatMap (user: user.keys) (
          lib.filter (user: user.role == "operator") (lib.attrValues fleet.users)
        );
        defaultText = lib.literalMD "the keys of all operators";
        description = "Who may log in as root over SSH: the console reaches libvirt and deploys as root.";
      };
    operatorGroups = mkOption {
      type = types.listOf types.str;
      default = lib.optional (fleet.kind == "host") "libvirtd";
      defaultText = lib.literalMD "`libvirtd` on a host, none on a guest";
      description = "The groups of operators' accounts. Viewers have none.";
    };
    consoleParams = withDefault [
      "console=tty0"
      "console=ttyS0,115200"
    ] (types.listOf types.str) "Kernel parameters of a guest: the last console is the one that `qd console` shows.";
    openPorts = withDefault [ 22 ] (types.listOf types.port) "TCP ports that the firewall lets in.";

    host = {
      mac = optional mac "The MAC address of its first network card.";
      address = optional address "Its address on the management network.";
      sshHostKey = optional publicKey "Its pinned SSH host key; null as long as it has not been installed.";
      accel = optional (types.enum [
        "kvm"
        "tcg"
        "test"
      ]) "How it runs guests; null when nobody has tried.";
      labels = withDefault [ ] (types.listOf name) "Words to filter by, and to give access by.";
      disk = optional stableDisk ''
        The disk that the system is installed on, by a name that stays ("/dev/disk/by-id/..."). It gets an ESP and a
        root partition by disko when the machine is installed, which wipes it. Null when `fileSystems` are written by
        hand or imported from a hardware-configuration.nix.
      '';
      hardware = {
        cpu = optional types.str "The CPU's model.";
        memoryKib = optional types.ints.positive "How much memory it has, in KiB.";
        pci = optional (types.attrsOf (types.listOf pciId)) ''
          The PCI slots that were seen, with the vendor and device of each function ("0000:65:00" = [ "10de:2206" ]).
          Null when there was no report: then nothing is checked against it.
        '';
      };
      cpuVendor = mkOption {
        type = types.nullOr (types.enum [
          "intel"
          "amd"
        ]);
        default =
          let
            cpu = if fleet.host.hardware.cpu == null then "" else fleet.host.hardware.cpu;
            has = word: lib.hasInfix word cpu;
          in
          if has "Intel" then
            "intel"
          else if has "AMD" then
            "amd"
          else
            null;
        defaultText = lib.literalMD "read from `fleet.host.hardware.cpu`";
        description = "Who made the CPU; decides on kernel parameters and microcode.";
      };
      network = mkOption {
        type = types.nullOr types.str;
        default =
          let
            net = import ./address.nix { inherit lib; };
            holds =
              network:
              network.subnet != null && fleet.host.address != null && net.contains network.subnet fleet.host.address;
          in
          lib.findFirst (name: holds fleet.networks.${name}) null (lib.attrNames fleet.networks);
        defaultText = lib.literalMD "the network whose subnet has `fleet.host.address`";
        description = "The network that this host's own address, gateway and name servers are of.";
      };
      uplinks = withDefault { } (types.attrsOf (types.nullOr mac)) ''
        The MAC address of the card that carries each network; null for a network without a way out of the host.
        What is not named here is carried by the host's first card if it is the host's own network or a VLAN, and by
        none otherwise.
      '';
      own = table own "Devices that this host keeps for itself: none of them is bound for a guest.";
      sriov =
        withDefault { } (types.attrsOf types.ints.positive)
          "How many virtual functions a function has from boot on (\"0000:3b:00.0\" = 8).";
      containerGpus = mkOption {
        type = types.bool;
        default = lib.any (
          device: device.containers && lib.any (lib.hasPrefix "10de:") device.functions
        ) (lib.attrValues fleet.host.own);
        defaultText = lib.literalMD "whether one of `fleet.host.own` is NVIDIA's and for containers";
        description = "NVIDIA's driver and container toolkit are there: containers name the cards by CDI.";
      };
      kernelParams = mkOption {
        type = types.listOf types.str;
        default =
          lib.optional (fleet.system == "x86_64-linux" && fleet.host.cpuVendor != "amd") "intel_iommu=on"
          ++ lib.optional (fleet.system == "x86_64-linux") "iommu=pt";
        defaultText = lib.literalMD "the IOMMU's, by `fleet.host.cpuVendor`";
        description = "Kernel parameters of a hypervisor. The AMD driver is on by itself.";
      };
      bootModules = mkOption {
        type = types.listOf types.str;
        default = [
          "ahci"
          "nvme"
          "sd_mod"
          "usb_storage"
          "usbhid"
          "virtio_blk"
          "virtio_pci"
          "virtio_scsi"
          "xhci_pci"
        ]
        ++ lib.optionals (fleet.system == "x86_64-linux") [
          "megaraid_sas"
          "mpt3sas"
        ];
        defaultText = lib.literalMD "those of common disk controllers";
        description = "Modules that the initrd may need to find the root disk.";
      };
      hugepages = {
        count = withDefault 0 types.ints.unsigned "How many huge pages are set aside at boot.";
        size = withDefault "1G" (types.enum [
          "2M"
          "1G"
        ]) "How large each is.";
      };
    };

    guests = table guest "The guests whose home this host is.";
    guest = optional (types.submodule { options = guest; }) "This machine, when it is a NixOS guest.";

    vfio = {
      devices = mkOption {
        description = ''
          The PCI slots that are kept for guests from early boot on, before a driver of the host takes them. All
          devices of the guests are here; set `fleet.vfio.devices."0000:65:00".bind` to choose how, or to "never".
        '';
        default = { };
        type = types.attrsOf (
          types.submodule {
            options = {
              functions = option (types.nonEmptyListOf pciId) "Vendor and device of each function.";
              functionNumbers =
                withDefault [ ] (types.listOf (types.ints.between 0 7))
                  "The functions' numbers; counted from 0 when empty.";
              bind = withDefault "address" (types.enum [
                "id"
                "address"
                "never"
              ]) "By vendor and device (every such card), by address (this card only), or not at boot.";
            };
          }
        );
      };
      modules = withDefault [
        "vfio_pci"
        "vfio_iommu_type1"
      ] (types.listOf types.str) "Modules that the initrd loads before any other.";
    };
  };
}
