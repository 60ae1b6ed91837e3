# Of nixpkgs' lib, what the library under test calls, and a small module system with the same rules: options with
# types, definitions with mkIf, mkMerge, priorities and order. What no option declares is merged by its shape; whether
# NixOS has such an option is another test's question.
let
  inherit (builtins)
    all
    any
    attrNames
    attrValues
    concatLists
    concatMap
    elem
    elemAt
    filter
    foldl'
    genList
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    map
    mapAttrs
    match
    sort
    stringLength
    substring
    ;

  typed = tag: value: isAttrs value && (value._type or null) == tag;
  isPackage = value: isAttrs value && (value.type or null) == "derivation";
  isTree = value: isAttrs value && !isPackage value && !(value ? _type) && !(value ? outPath);
  unique = foldl' (found: item: if elem item found then found else found ++ [ item ]) [ ];
  show = loc: builtins.concatStringsSep "." loc;

  # Into the attributes, without asking whether a condition holds: it may be about what is being worked out.
  pushDown =
    value:
    if typed "merge" value then
      concatMap pushDown value.contents
    else if typed "if" value then
      map (mapAttrs (_: content: value // { inherit content; })) (pushDown value.content)
    else if typed "override" value || typed "order" value then
      map (mapAttrs (_: content: value // { inherit content; })) (pushDown value.content)
    else
      [ value ];

  # A definition as a list of { priority; order; value; }.
  discharge =
    value:
    if typed "merge" value then
      concatMap discharge value.contents
    else if typed "if" value then
      if value.condition then discharge value.content else [ ]
    else if typed "override" value then
      map (found: found // { inherit (value) priority; }) (discharge value.content)
    else if typed "order" value then
      map (found: found // { order = value.priority; }) (discharge value.content)
    else
      [
        {
          priority = 100;
          order = 1000;
          inherit value;
        }
      ];

  winners =
    defs:
    let
      found = concatMap discharge defs;
      best = foldl' (least: def: if def.priority < least then def.priority else least) 100000 found;
    in
    map (def: def.value) (
      sort (a: b: a.order < b.order) (filter (def: def.priority == best) found)
    );

  single =
    loc: values:
    if all (value: value == head values) values then
      head values
    else
      throw "The option `${show loc}' has conflicting definitions.";

  simple = name: check: {
    inherit name;
    merge =
      loc: values:
      if all check values then
        single loc values
      else
        throw "A definition for option `${show loc}' is not of type `${name}'.";
  };

  # What nothing declares: trees by name, lists joined, the rest must agree.
  free =
    loc: values:
    if all isTree values then
      tree loc values
    else if all isList values then
      map (item: if isTree item then free loc [ item ] else item) (concatLists values)
    else if all isString values && length values > 1 && lines loc then
      builtins.concatStringsSep "\n" values
    else
      single loc values;
  lines =
    loc:
    elem (elemAt loc (length loc - 1)) [
      "extraConfig"
      "preDeviceCommands"
      "postMountCommands"
    ];

  tree =
    loc: values:
    let
      pushed = concatMap pushDown values;
      names = unique (concatMap attrNames pushed);
      wins = name: winners (map (value: value.${name}) (filter (value: value ? ${name}) pushed));
    in
    listToAttrs (
      concatMap (
        name:
        if wins name == [ ] then
          [ ]
        else
          [
            {
              inherit name;
              value = free (loc ++ [ name ]) (wins name);
            }
          ]
      ) names
    );

  types = rec {
    raw = {
      name = "raw";
      merge = free;
    };
    bool = simple "boolean" isBool;
    str = simple "string" isString;
    path = simple "path" (value: isPath value || isPackage value || (isString value && substring 0 1 value == "/"));
    package = simple "package" (value: isPackage value || isString value);
    port = ints.between 0 65535;
    ints = {
      between = low: high: simple "integer between ${toString low} and ${toString high}" (
        value: isInt value && low <= value && value <= high
      );
      unsigned = simple "unsigned integer" (value: isInt value && value >= 0);
      positive = simple "positive integer" (value: isInt value && value > 0);
    };
    enum = values: simple "one of ${builtins.toJSON values}" (value: elem value values);
    strMatching =
      pattern:
      simple "string matching the pattern ${pattern}" (value: isString value && match pattern value != null);
    lines = {
      name = "lines";
      merge = _: builtins.concatStringsSep "\n";
    };
    deferredModule = {
      name = "module";
      merge = _: values: values;
    };
    nullOr = inner: {
      name = "null or ${inner.name}";
      merge =
        loc: values:
        if all (value: value == null) values then
          null
        else if any (value: value == null) values then
          throw "The option `${show loc}' is both null and not."
        else
          inner.merge loc values;
    };
    listOf = inner: {
      name = "list of ${inner.name}";
      merge =
        loc: values:
        if all isList values then
          map (item: inner.merge loc [ item ]) (concatLists values)
        else
          throw "A definition for option `${show loc}' is not of type `list of ${inner.name}'.";
    };
    nonEmptyListOf = inner: {
      name = "non-empty ${(listOf inner).name}";
      merge =
        loc: values:
        let
          found = (listOf inner).merge loc values;
        in
        if found == [ ] then throw "A definition for option `${show loc}' is an empty list." else found;
    };
    attrsOf = inner: {
      name = "attribute set of ${inner.name}";
      merge =
        loc: values:
        if !all isAttrs values then
          throw "A definition for option `${show loc}' is not of type `attribute set of ${inner.name}'."
        else
          let
            pushed = concatMap pushDown values;
            wins = name: winners (map (value: value.${name}) (filter (value: value ? ${name}) pushed));
            names = filter (name: wins name != [ ]) (unique (concatMap attrNames pushed));
          in
          listToAttrs (
            map (name: {
              inherit name;
              value = inner.merge (loc ++ [ name ]) (wins name);
            }) names
          );
    };
    submodule = module: {
      name = "submodule";
      merge =
        loc: values:
        (evaluate {
          inherit loc;
          strict = true;
          modules = [ module ] ++ map (config: { inherit config; }) values;
        }).config;
    };
  };

  # strict: what no option declares is an error, as in a submodule.
  evaluate =
    {
      modules,
      args ? { },
      loc ? [ ],
      strict ? false,
    }:
    let
      given = args // { inherit config options lib; };
      load =
        module:
        if isPath module || isString module then
          load (import module) // { key = toString module; }
        else if isFunction module then
          load (module (mapAttrs (name: _: given.${name}) (builtins.functionArgs module)))
        else
          module;
      collect =
        module:
        let
          loaded = load module;
        in
        [ loaded ] ++ concatMap collect (loaded.imports or [ ]);
      once =
        foldl'
          (
            seen: module:
            if module ? key && elem module.key seen.keys then
              seen
            else
              {
                keys = seen.keys ++ (if module ? key then [ module.key ] else [ ]);
                found = seen.found ++ [ module ];
              }
          )
          {
            keys = [ ];
            found = [ ];
          }
          (concatMap collect modules);
      plain =
        module:
        module.config or (
          if module ? options then
            { }
          else
            removeAttrs module [
              "imports"
              "key"
              "_file"
            ]
        );
      declared = foldl' joined { } (map (module: module.options or { }) once.found);
      options = defined declared (concatMap pushDown (map plain once.found));
      config = level loc declared (concatMap pushDown (map plain once.found));

      level =
        loc: options: pushed:
        let
          names = attrNames options ++ filter (name: !options ? ${name}) (unique (concatMap attrNames pushed));
          given = name: map (value: value.${name}) (filter (value: value ? ${name}) pushed);
          one =
            name:
            let
              here = loc ++ [ name ];
              option = options.${name} or null;
            in
            if option == null then
              if strict then throw "The option `${show here}' does not exist." else free' here (given name)
            else if typed "option" option then
              leaf here option (given name)
            else if strict || name == "fleet" || elem "fleet" loc then
              closed here option (concatMap pushDown (given name))
            else
              level here option (concatMap pushDown (given name));
        in
        listToAttrs (
          map (name: {
            inherit name;
            value = one name;
          }) names
        );
      closed =
        loc: options: pushed:
        let
          strange = filter (name: !options ? ${name}) (unique (concatMap attrNames pushed));
        in
        if strange != [ ] then
          throw "The option `${show (loc ++ [ (head strange) ])}' does not exist."
        else
          level loc options pushed;
      # Whether a name is there at all may hang on a condition: it is kept, and says that it is nothing.
      free' =
        loc: defs:
        let
          found = winners defs;
        in
        if found == [ ] then { _type = "absent"; } else free loc found;

      leaf =
        loc: option: defs:
        let
          found = winners (
            defs
            ++ (
              if option ? default then
                [
                  {
                    _type = "override";
                    priority = 1500;
                    content = option.default;
                  }
                ]
              else
                [ ]
            )
          );
        in
        if found == [ ] then
          throw "The option `${show loc}' was accessed but has no value defined. Try setting the option."
        else
          option.type.merge loc found;

      defined =
        options: pushed:
        mapAttrs (
          name: option:
          let
            given = concatMap (value: if value ? ${name} then [ value.${name} ] else [ ]) pushed;
          in
          if typed "option" option then
            option // { isDefined = winners given != [ ]; }
          else
            defined option (concatMap pushDown given)
        ) options;
    in
    {
      inherit config options;
    };

  joined =
    a: b:
    a
    // mapAttrs (
      name: value:
      if !a ? ${name} then
        value
      else if typed "option" value || typed "option" a.${name} then
        throw "The option `${name}' is declared twice."
      else
        joined a.${name} value
    ) b;

  lib = builtins // {
    inherit types unique evaluate;
    mkOption = option: option // { _type = "option"; };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkOverride = priority: content: {
      _type = "override";
      inherit priority content;
    };
    mkDefault = lib.mkOverride 1000;
    mkForce = lib.mkOverride 50;
    mkOrder = priority: content: {
      _type = "order";
      inherit priority content;
    };
    mkBefore = lib.mkOrder 500;
    mkAfter = lib.mkOrder 1500;
    literalMD = text: text;
    trivial.release = "25.11";
    literalExpression = text: text;

    optional = wanted: item: if wanted then [ item ] else [ ];
    optionals = wanted: items: if wanted then items else [ ];
    optionalString = wanted: text: if wanted then text else "";
    optionalAttrs = wanted: set: if wanted then set else { };
    last = list: elemAt list (length list - 1);
    range = first: last: if first > last then [ ] else genList (n: first + n) (last - first + 1);
    replicate = count: item: genList (_: item) count;
    imap0 = f: list: genList (n: f n (elemAt list n)) (length list);
    findFirst =
      wanted: default: list:
      let
        found = filter wanted list;
      in
      if found == [ ] then default else head found;
    intersectLists = a: filter (item: elem item a);
    min = a: b: if a < b then a else b;
    max = a: b: if a > b then a else b;
    mod = a: b: a - b * (a / b);
    toInt = builtins.fromJSON;
    toIntBase10 = text: builtins.fromJSON (head (match "0*([0-9]+)" text));
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasSuffix =
      suffix: text:
      let
        start = stringLength text - stringLength suffix;
      in
      start >= 0 && substring start (-1) text == suffix;
    hasInfix = infix: text: length (filter isString (builtins.split (lib.escapeRegex infix) text)) > 1;
    escapeRegex = lib.replaceStrings [ "." "*" "+" "(" ")" ] [ "\\." "\\*" "\\+" "\\(" "\\)" ];
    splitString = separator: text: filter isString (builtins.split (lib.escapeRegex separator) text);
    removePrefix = prefix: text: if lib.hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;
    concatMapStrings = f: list: builtins.concatStringsSep "" (map f list);
    concatMapStringsSep = separator: f: list: builtins.concatStringsSep separator (map f list);
    escapeShellArg = text: "'${lib.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
    escapeXML = lib.replaceStrings [ "&" "<" ">" "\"" "'" ] [ "&amp;" "&lt;" "&gt;" "&quot;" "&apos;" ];
    makeBinPath = lib.concatMapStringsSep ":" (package: "${package}/bin");
    nameValuePair = name: value: { inherit name value; };
    genAttrs = names: f: listToAttrs (map (name: lib.nameValuePair name (f name)) names);
    filterAttrs = f: set: listToAttrs (
      map (name: lib.nameValuePair name set.${name}) (filter (name: f name set.${name}) (attrNames set))
    );
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    groupBy = builtins.groupBy;
  };
in
lib
