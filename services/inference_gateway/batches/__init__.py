"""Files of `/v1/files`, and the batches that read them: checked, asked line by line, and written down."""
