"""One thin module per DVC stage: read parameters, call, write."""
