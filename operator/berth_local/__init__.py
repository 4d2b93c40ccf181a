"""The embedded control plane behind `berth local`: a small Kubernetes API server and a node agent."""
