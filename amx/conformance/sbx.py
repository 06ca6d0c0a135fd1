"""SBX: permission in sandboxes."""
