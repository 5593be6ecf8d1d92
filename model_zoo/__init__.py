"""qnn.model_zoo: networks, one architecture per file, as symbols."""
