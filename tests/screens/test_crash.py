"""A console that fails unexpectedly leaves, and prints nothing over the terminal: whoever ran it tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from screens.app import QuarterdeckApp
from tests.screens.world import make_world


def test_nothing_is_printed_and_the_failure_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_world(tmp_path).session

    async def broken(*, follow: bool = True) -> None:
        raise LookupError("nobody foresaw this")

    monkeypatch.setattr(session, "start", broken)
    app = QuarterdeckApp(session)
    app.run(headless=True, size=(80, 24))
    assert isinstance(app.failure, LookupError)
    assert app.return_code == 1
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert "nobody foresaw" not in out + err
