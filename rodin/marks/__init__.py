"""Marks on what leaves the suite: tags in files, an invisible watermark in pictures, content credentials (R60)."""
