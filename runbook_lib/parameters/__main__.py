"""Write what the schema generates: ``parameters/schema.json`` and the table in ``docs/parameters.md``."""

from __future__ import annotations

import re

from . import field_table, project_root, write_schema

root = project_root()
write_schema(root / "parameters" / "schema.json")
page = root / "docs" / "parameters.md"
table = "\n".join(["<!-- parameters:begin -->", *field_table(), "<!-- parameters:end -->"])
text = page.read_text(encoding="utf-8")
page.write_text(
    re.sub(r"<!-- parameters:begin -->.*<!-- parameters:end -->", lambda _: table, text, flags=re.DOTALL),
    encoding="utf-8",
)
