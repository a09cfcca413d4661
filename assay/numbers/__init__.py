"""Generated pictures of numbers on photos; ``build.build_numbers`` makes a whole data set.

One idea per file: ``photos`` (backgrounds), ``warp`` and ``colours`` (their changes), ``glyphs`` (one number),
``places`` (where it goes), ``picture`` (all together), ``labels`` (what files say), ``samples`` (for the UI),
``summary`` (tables and counts), ``build`` (the loop).
"""
