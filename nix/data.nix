# A machine's generated data as a module of defaults, so that its own module wins over the data too.
file:

let
  default = content: {
    _type = "override"; # what lib.mkDefault writes; there is no lib yet
    priority = 1000;
    inherit content;
  };
  defaults =
    value:
    if builtins.isAttrs value && value != { } then builtins.mapAttrs (_: defaults) value else default value;
in
{
  _file = toString file;
  fleet = builtins.mapAttrs (_: defaults) (import file).fleet;
}
