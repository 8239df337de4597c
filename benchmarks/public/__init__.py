"""Public data sets that carry write times, obtained by name when run, joined naively and audited (`make public`)."""
