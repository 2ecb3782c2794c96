"""A user study by forced choice (Table 2): its design, its page, its votes, and their count."""
