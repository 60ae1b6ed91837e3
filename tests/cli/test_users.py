"""`qd user`: one commit each, undone by `qd undo`, and refused with the reason."""

from __future__ import annotations

from pathlib import Path

from tests.cli.place import Place

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICU0d08mm7mD1Y2qwjggrY2GorDkUsrDrjUQEKEsQhBA"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINu4eZTyPqYDgALdyAiHEuNcN6Z5MtW2gUJBosInMoF9"


def test_users_from_the_first_to_the_last(place: Place) -> None:
    place.ok("init", "inventory")
    folder = str(place.root / "inventory")
    place.env["QUARTERDECK_INVENTORY"] = folder
    try:
        assert "No users yet" in place.ok("user", "list")
        Path(folder, "ada.pub").write_text(f"# a comment\n{KEY} ada@desk\n")
        place.ok("user", "add", "ada", "--key-file", f"{folder}/ada.pub", "--role", "operator", "--label", "rack-1")
        place.ok("user", "set", "ada", "--add-key", OTHER, "--all-hosts")
        [user] = place.json("user", "list")
        assert (user["name"], user["role"], user["labels"]) == ("ada", "operator", [])
        assert [key["key"] for key in user["keys"]] == [KEY, OTHER]
        assert user["keys"][0]["fingerprint"] == "SHA256:Dk/B6MHjajxobzt50yJkn665Zw5J8SMQf6vxOIVo1JI"
        place.ok("undo")
        [user] = place.json("--read-only", "user", "list")
        assert user["labels"] == ["rack-1"] and len(user["keys"]) == 1
        assert "belongs to ada" in place.refused("user", "add", "eve", "--key", KEY)
        assert "cut short" in place.refused("user", "add", "eve", "--key", KEY[:-4])
        assert "cannot be read" in place.refused("user", "add", "eve", "--key-file", "/nowhere")
        assert "read-only" in place.refused("--read-only", "user", "remove", "ada")
        place.ok("user", "remove", "ada")
        assert place.json("user", "list") == []
        subjects = [each["what"] for each in place.json("history")]
        assert subjects[:4] == ["Remove user ada", "Undo: Set user ada", "Set user ada", "Add user ada"]
    finally:
        del place.env["QUARTERDECK_INVENTORY"]
