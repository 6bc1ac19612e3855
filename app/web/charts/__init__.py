"""Charts of machines and runs: values first, then SVG."""
