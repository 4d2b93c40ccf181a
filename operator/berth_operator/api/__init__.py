"""The Workspace API: its names, its models, its rules, and the CRD made from them."""
