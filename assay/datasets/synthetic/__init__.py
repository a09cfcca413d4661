"""Generated images of numbers on photos; ``build.build_numbers`` makes a whole data set.

``backgrounds`` has the photos and their geometry, ``glyphs`` one number and all colours, ``picture`` a whole image and
what is known about it, ``build`` the data set. ``handwritten`` writes real example data.
"""
