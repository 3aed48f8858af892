"""The Helm chart: its values, its renderings by the real engine, its releases."""
