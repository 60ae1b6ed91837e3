#!/usr/bin/env bash
# Makes FOLDER answer for exactly the cards of a list: JSON on stdin, [{ mac, address, menu }, ...].
#
#   FOLDER/hosts/MAC        dnsmasq's dhcp-hostsdir: who gets a lease
#   FOLDER/tftp/MAC/        its TFTP root: the iPXE programs of LOADERS, and this card's own menu
#   FOLDER/http/ADDRESS     a link to IMAGES: the HTTP server looks only under the asker's own address
#
# Prints what it changes. dnsmasq wants a SIGHUP afterwards, or it goes on serving a card that was taken away. Files
# come by rename, so that nobody reads half of one.
set -euo pipefail
shopt -s nullglob inherit_errexit

mkdir -p "$FOLDER"/{hosts,tftp,http,new}
cat >"$FOLDER/new/list"
# Checked whole before anything is touched: half a list would take the rest out of service.
jq -es 'length == 1 and (.[0] | type == "array" and all(.[]; (.mac | test("^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"))
  and (.address | test("^[0-9]+([.][0-9]+){3}$")) and (.menu | type == "string")))' "$FOLDER/new/list" >/dev/null ||
  { echo "netboot: the list of machines is not what it should be; everything stays as it was" >&2; exit 1; }

# put FILE TEXT
put() {
  # A dot at the end keeps the newlines that a command substitution would take away.
  if [ -f "$1" ] && [ "$(cat "$1" && echo .)" = "$2." ]; then return; fi
  printf '%s' "$2" >"$FOLDER/new/file"
  mv "$FOLDER/new/file" "$1"
  echo "wrote ${1#"$FOLDER/"}"
}

# point LINK TARGET
point() {
  if [ -L "$1" ] && [ "$(readlink "$1")" = "$2" ]; then return; fi
  ln -sfn "$2" "$FOLDER/new/link"
  mv -T "$FOLDER/new/link" "$1"
}

declare -A cards=() addresses=()
while IFS= read -r -d '' mac && IFS= read -r -d '' address && IFS= read -r -d '' menu; do
  card=${mac//:/-}
  cards[$card]=1 addresses[$address]=1
  [ -d "$FOLDER/tftp/$card" ] || mkdir "$FOLDER/tftp/$card"
  for loader in "$LOADERS"/*; do point "$FOLDER/tftp/$card/${loader##*/}" "$loader"; done
  put "$FOLDER/tftp/$card/menu.ipxe" "$menu"
  point "$FOLDER/http/$address" "$IMAGES"
  # The lease last: who has it finds the rest in place.
  put "$FOLDER/hosts/$card" "$mac,$address,10m"$'\n'
done < <(jq -j '.[] | .mac, "\u0000", .address, "\u0000", .menu, "\u0000"' "$FOLDER/new/list")

for file in "$FOLDER"/hosts/*; do
  card=${file##*/}
  if [ -z "${cards[$card]:-}" ]; then
    rm -rf "$file" "$FOLDER/tftp/$card"
    echo "took away ${card//-/:}"
  fi
done
for link in "$FOLDER"/http/*; do
  [ -n "${addresses[${link##*/}]:-}" ] || rm "$link"
done
rm -r "$FOLDER/new"
