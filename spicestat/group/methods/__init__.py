"""The group methods: one file each, with ``Settings`` and ``estimate``, and the table of them."""
