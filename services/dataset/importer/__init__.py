"""From a file to a split: readers → canonical → validate → near_duplicates → split → files → profile.

Files in, files out: nothing here knows the database, the object store or gRPC.
"""
