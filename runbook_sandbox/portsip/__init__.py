"""PortSIP's REST API, as its OpenAPI document of version 22.2 and its guides describe it."""
