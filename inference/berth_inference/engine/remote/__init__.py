"""An engine that asks a vLLM server over HTTP. Needs neither torch nor weights."""
