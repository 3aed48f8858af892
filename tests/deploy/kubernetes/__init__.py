"""A Kubernetes API server in memory, as far as `kubectl` and Helm need one to install something."""
