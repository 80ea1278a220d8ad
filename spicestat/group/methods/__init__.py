"""The group methods: one file each, with ``estimate`` and ``METHOD``, and the registry that finds them."""
