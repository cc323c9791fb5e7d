"""Write what is generated from the schema: ``parameters/schema.json`` and the README's table."""

from __future__ import annotations

import re

from . import field_table, project_root, write_schema

root = project_root()
write_schema(root / "parameters" / "schema.json")
readme = root / "README.md"
table = "\n".join(["<!-- parameters:begin -->", *field_table(), "<!-- parameters:end -->"])
text = readme.read_text(encoding="utf-8")
readme.write_text(
    re.sub(r"<!-- parameters:begin -->.*<!-- parameters:end -->", lambda _: table, text, flags=re.DOTALL),
    encoding="utf-8",
)
