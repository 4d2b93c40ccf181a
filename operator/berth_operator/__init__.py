"""The operator: Workspaces in, Deployments and Services out."""

__version__ = "0.1.0"
