# dnsmasq's settings for DHCP and TFTP, without DNS: default deny, and who is known comes from files in `folder`.
{
  interface,
  # As subnet.nix gives it.
  subnet,
  gateway,
  dns,
  folder,
  # The names of the iPXE programs that there are: "bios", "efi64", "efiArm64".
  loaders,
}:

let
  dotted = octets: builtins.concatStringsSep "." (map toString octets);
  # Without a value dnsmasq sends none; without a line it would name itself.
  dhcpOption = name: values: builtins.concatStringsSep "," ([ "option:${name}" ] ++ values);
  programs = {
    bios = "tag:!ipxe,tag:bios,undionly.kpxe";
    efi64 = "tag:!ipxe,tag:efi64,ipxe-x86_64.efi";
    efiArm64 = "tag:!ipxe,tag:efiarm64,ipxe-arm64.efi";
  };
in
{
  port = 0;
  no-resolv = true;
  no-hosts = true;
  inherit interface;
  except-interface = "lo";
  # The bridge may come up after dnsmasq does.
  bind-dynamic = true;
  # Two refusals: there is no address to give but the reserved ones, and who has no reservation is not answered.
  dhcp-range = "${dotted subnet.first},static,${dotted subnet.mask},10m";
  dhcp-ignore = "tag:!known";
  dhcp-ignore-names = true;
  dhcp-authoritative = true;
  dhcp-hostsdir = "${folder}/hosts";
  dhcp-option = [
    (dhcpOption "router" (if gateway == null then [ ] else [ gateway ]))
    (dhcpOption "dns-server" dns)
  ];
  # Firmware gets iPXE first, each kind its own; iPXE, known by its option 175, gets its card's menu.
  dhcp-match = [
    "set:ipxe,175"
    "set:bios,option:client-arch,0"
    "set:efi64,option:client-arch,7"
    "set:efi64,option:client-arch,9"
    "set:efiarm64,option:client-arch,11"
  ];
  dhcp-boot = [ "tag:ipxe,menu.ipxe" ] ++ map (name: programs.${name}) loaders;
  enable-tftp = true;
  tftp-root = "${folder}/tftp";
  # Each card sees its own folder as the root.
  tftp-unique-root = "mac";
  log-dhcp = true;
}
