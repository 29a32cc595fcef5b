"""Every setting: its schema, and the way from overrides to a valid configuration."""
