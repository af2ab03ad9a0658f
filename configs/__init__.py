"""Parameters: their schema, one module per stage, and ready files to copy to params.yaml."""
