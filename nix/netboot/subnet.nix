# "10.0.0.2/24" as { address = "10.0.0.2"; first = [ 10 0 0 0 ]; mask = [ 255 255 255 0 ]; }; null when it is none.
# Without nixpkgs, as all of this folder.
text:

let
  inherit (builtins)
    bitAnd
    elemAt
    fromJSON
    genList
    head
    match
    ;
  # A leading zero is an octal number to some readers and none to JSON: refused.
  octet = "(0|[1-9][0-9]{0,2})";
  found = match "(${octet}\\.${octet}\\.${octet}\\.${octet})/([0-9]|[12][0-9]|3[0-2])" text;
  number = place: fromJSON (elemAt found place);
  bits = number 5;
  kept = place: if bits >= 8 * place + 8 then 8 else if bits <= 8 * place then 0 else bits - 8 * place;
  mask = genList (place: elemAt [ 0 128 192 224 240 248 252 254 255 ] (kept place)) 4;
in
if found == null || builtins.any (place: number place > 255) [ 1 2 3 4 ] then
  null
else
  {
    address = head found;
    first = genList (place: bitAnd (number (place + 1)) (elemAt mask place)) 4;
    inherit mask;
  }
