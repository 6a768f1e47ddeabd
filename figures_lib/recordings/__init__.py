"""A recording of one's own: files of several formats, one meaning."""
