"""Write what is generated from the schema: ``parameters/schema.json`` and the README's table."""

from __future__ import annotations

import json
import re

from . import field_table, json_schema, project_root

root = project_root()
(root / "parameters" / "schema.json").write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")
readme = root / "README.md"
table = "\n".join(["<!-- parameters:begin -->", *field_table(), "<!-- parameters:end -->"])
text = readme.read_text(encoding="utf-8")
readme.write_text(
    re.sub(r"<!-- parameters:begin -->.*<!-- parameters:end -->", lambda _: table, text, flags=re.DOTALL), encoding="utf-8"
)
