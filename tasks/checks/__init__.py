"""What the data checks are made of: the profile they judge, the rules, and the report; never the judge itself."""
