"""What the operator sees: Textual screens over the console's services. Opens no socket, file or process."""

from __future__ import annotations
