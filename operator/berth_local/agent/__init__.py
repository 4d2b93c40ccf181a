"""The node agent of `berth local`: makes Deployments, pods and Services true as processes on this machine."""
