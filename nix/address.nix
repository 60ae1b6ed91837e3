# Addresses as arithmetic: which subnet holds which address. IPv4 and IPv6, with or without a prefix length.
{ lib }:

let
  split = separator: text: lib.filter lib.isString (builtins.split separator text);

  bare = text: lib.head (split "/" text);
  prefix =
    text:
    let
      parts = split "/" text;
    in
    if lib.length parts == 2 then lib.toIntBase10 (lib.elemAt parts 1) else null;

  isV6 = text: lib.hasInfix ":" text;

  # Words of an address (four of 8 bits or eight of 16 bits), or null where it is none.
  words =
    text:
    let
      found = if isV6 text then words6 (bare text) else words4 (bare text);
      limit = if isV6 text then 65535 else 255;
    in
    if found != null && lib.all (word: word != null && word <= limit) found then found else null;

  words4 =
    text:
    let
      parts = split "\\." text;
    in
    if lib.length parts == 4 then map (number "[0-9]{1,3}" lib.toIntBase10) parts else null;

  words6 =
    text:
    let
      halves = split "::" text;
      hexadecimal = text: (fromTOML "n = 0x${text}").n;
      groups = half: if half == "" then [ ] else map (number "[0-9a-f]{1,4}" hexadecimal) (split ":" half);
      left = groups (lib.head halves);
      right = groups (lib.last halves);
      missing = 8 - lib.length left - lib.length right;
    in
    if lib.length halves == 1 && lib.length left == 8 then
      left
    else if lib.length halves == 2 && missing > 0 then
      left ++ lib.replicate missing 0 ++ right
    else
      null;

  number =
    pattern: read: text:
    if builtins.match pattern text == null then null else read text;

  # The leading `bits` of an address, as words whose other bits are 0.
  masked =
    width: bits: found:
    lib.imap0 (
      place: word:
      let
        kept = lib.max 0 (lib.min width (bits - place * width));
        step = lib.foldl' (value: _: value * 2) 1 (lib.range 1 (width - kept));
      in
      word - lib.mod word step
    ) found;
in
{
  inherit bare isV6;

  # True for an address that can be written, with a prefix length that its family has.
  valid =
    text:
    words text != null && (prefix text == null || prefix text <= (if isV6 text then 128 else 32));

  # True where the subnet ("10.0.0.0/24") holds the address ("10.0.0.11", "10.0.0.11/24").
  contains =
    subnet: address:
    let
      width = if isV6 subnet then 16 else 8;
      start = words subnet;
      found = words address;
      bits = prefix subnet;
    in
    isV6 subnet == isV6 address
    && start != null
    && found != null
    && bits != null
    && masked width bits start == masked width bits found;
}
